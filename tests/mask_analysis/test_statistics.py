"""Every figure about masks agrees with a slow and obvious way to find it."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.mask_analysis.statistics import count, distance, measure, runs
from ablate.model.masking import Grid, Mask
from maskers import Curriculum, MultiBlock, Random, TimeFrequency


@st.composite
def batches(draw):
    """Batches of masks with nothing regular about them, blocks that are empty among them."""
    grid = Grid(draw(st.integers(1, 5)), draw(st.integers(2, 7)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    drawn = []
    for blocks in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        kind = torch.randint(0, 3, (4, grid.size), generator=rng)
        which = torch.randint(0, blocks, (4, 1, grid.size), generator=rng)
        kind[:, 0], kind[:, 1] = 1, 2  # neither side is empty
        targets = (kind == 2).unsqueeze(1) & (which == torch.arange(blocks).view(1, -1, 1))
        drawn.append(Mask(kind == 1, targets))
    return grid, drawn


def samples(drawn):
    """Lists each sample as sets of patches: its context, and its blocks."""
    for mask in drawn:
        for context, targets in zip(mask.context, mask.targets, strict=True):
            blocks = [set(block.nonzero().flatten().tolist()) for block in targets]
            yield set(context.nonzero().flatten().tolist()), blocks


def counted(lengths, longest):
    return [sum(length == n for length in lengths) for n in range(longest + 1)]


@given(batches())
def test_shares_and_visits_are_counts(case):
    grid, drawn = case
    found = count(drawn, grid, 1.0)
    every = list(samples(drawn))
    shares = [len(context) / grid.size for context, _ in every]
    assert found.context.mean == pytest.approx(sum(shares) / len(shares))
    assert min(shares) <= found.context.p1 <= found.context.mean <= found.context.p99 <= max(shares)
    unions = [len(set().union(*blocks)) / grid.size for _, blocks in every]
    assert found.targets.mean == pytest.approx(sum(unions) / len(unions))
    for patch in range(grid.size):
        row, column = divmod(patch, grid.time)
        seen = sum(patch in context for context, _ in every) / len(every)
        asked = sum(any(patch in block for block in blocks) for _, blocks in every) / len(every)
        assert found.context_visits[row, column] == pytest.approx(seen)
        assert found.target_visits[row, column] == pytest.approx(asked)


def test_percentiles_leave_one_in_a_hundred_outside():
    context = torch.arange(100) < torch.arange(1, 100).view(-1, 1)  # 1 to 99 of 100 patches
    found = count([Mask(context, ~context.unsqueeze(1))], Grid(1, 100), 1.0)
    assert (found.context.p1, found.context.p99) == pytest.approx((0.0198, 0.9802))


@given(batches())
def test_distances_are_those_of_the_nearest_pair(case):
    grid, drawn = case
    found = []
    for context, blocks in samples(drawn):
        for target in set().union(*blocks):
            row, column = divmod(target, grid.time)
            ways = [(abs(row - s // grid.time), abs(column - s % grid.time)) for s in context]
            least = min(freq**2 + time**2 for freq, time in ways)
            nearest = [(freq, time) for freq, time in ways if freq**2 + time**2 == least]
            freq, time = (sum(steps) / len(nearest) for steps in zip(*nearest, strict=True))
            found.append((least**0.5, freq, time))
    straight, freq, time = (sum(way) / len(found) for way in zip(*found, strict=True))
    told = count(drawn, grid, 1.0).distance
    assert (told.straight, told.freq, told.time) == pytest.approx((straight, freq, time))


def test_a_row_without_context_is_measured_through_the_others():
    context = torch.zeros(1, 3, 40, dtype=torch.bool)
    context[0, 0, 0] = True
    targets = torch.zeros_like(context)
    targets[0, 2, 39] = True
    assert distance(context, targets).straight == pytest.approx((2**2 + 39**2) ** 0.5)


@given(batches())
def test_blocks_span_from_their_first_row_to_their_last(case):
    grid, drawn = case
    heights, widths = [], []
    for block in itertools.chain.from_iterable(blocks for _, blocks in samples(drawn)):
        if block:
            rows, columns = zip(*(divmod(patch, grid.time) for patch in block), strict=True)
            heights.append(max(rows) - min(rows) + 1)
            widths.append(max(columns) - min(columns) + 1)
    found = count(drawn, grid, 1.0)
    assert found.block_heights.tolist() == counted(heights, grid.freq)
    assert found.block_widths.tolist() == counted(widths, grid.time)


@given(batches())
def test_runs_are_what_is_met_walking_along_an_axis(case):
    grid, drawn = case
    along = {"time": [], "freq": []}
    for _, blocks in samples(drawn):
        union = set().union(*blocks)
        rows = [[r * grid.time + t for t in range(grid.time)] for r in range(grid.freq)]
        for axis, lines in (("time", rows), ("freq", list(zip(*rows, strict=True)))):
            for line in lines:
                groups = itertools.groupby(patch in union for patch in line)
                along[axis] += [len(list(members)) for asked, members in groups if asked]
    found = count(drawn, grid, 1.0)
    assert found.time_runs.tolist() == counted(along["time"], grid.time)
    assert found.freq_runs.tolist() == counted(along["freq"], grid.freq)


@given(batches())
def test_a_batch_is_cut_to_its_poorest_and_padded_to_its_richest(case):
    grid, drawn = case
    kept = seen = places = 0
    for mask in drawn:
        sizes = [len(context) for context, _ in samples([mask])]
        seen += sum(sizes)
        kept += min(sizes) * len(sizes)
        places += max(sizes) * len(sizes)
    found = count(drawn, grid, 1.0)
    assert found.truncation_loss == pytest.approx(1 - kept / seen)
    assert found.padding_waste == pytest.approx(1 - seen / places)


def test_speed_is_masks_over_seconds():
    context = torch.tensor([[True, False]] * 6)
    found = count([Mask(context, ~context.unsqueeze(1))], Grid(1, 2), 3.0)
    assert found.masks_per_second == pytest.approx(2.0)


def test_a_run_may_end_with_its_line():
    assert runs(torch.tensor([[True, True, False, True]])).tolist() == [2, 1]


def test_nothing_is_lost_where_all_see_alike():
    found = measure(Random(ratio=0.6), Grid(8, 64), batches=2)
    assert (found.truncation_loss, found.padding_waste) == (0.0, 0.0)
    assert found.context.mean == pytest.approx(205 / 512)


def test_corrected_blocks_lose_what_an_independent_simulation_lost():
    found = measure(MultiBlock(), Grid(8, 64))
    assert found.context.mean == pytest.approx(0.452, abs=0.01)
    assert found.truncation_loss == pytest.approx(0.38, abs=0.03)
    assert found.padding_waste == pytest.approx(0.29, abs=0.03)


def test_a_curriculum_is_measured_over_the_course_of_training():
    ends = TimeFrequency(), MultiBlock()
    halves = [measure(masker, Grid(8, 64), batches=4).targets.mean for masker in ends]
    found = measure(Curriculum(start=ends[0], end=ends[1]), Grid(8, 64)).targets.mean
    assert min(halves) + 0.05 < found < max(halves) - 0.05


def test_figures_are_the_same_whenever_they_are_measured():
    first, second = (measure(MultiBlock(), Grid(4, 8), batches=2).plain() for _ in range(2))
    for figures in (first, second):
        del figures["masks_per_second"]
    assert first == second
