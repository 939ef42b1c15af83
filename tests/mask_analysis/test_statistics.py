"""Mask statistics, each compared with a slow reference."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.mask_analysis.statistics import (
    compute_distance,
    compute_statistics,
    measure,
    run_lengths,
)
from ablate.model.masking import Grid, Mask
from maskers import Curriculum, MultiBlock, Random, TimeFrequency


@st.composite
def batches(draw):
    """Irregular batches of masks, some with empty blocks."""
    grid = Grid(draw(st.integers(1, 5)), draw(st.integers(2, 7)))
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    masks = []
    for blocks in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        kind = torch.randint(0, 3, (4, grid.size), generator=rng)
        which = torch.randint(0, blocks, (4, 1, grid.size), generator=rng)
        kind[:, 0], kind[:, 1] = 1, 2  # neither side is empty
        targets = (kind == 2).unsqueeze(1) & (which == torch.arange(blocks).view(1, -1, 1))
        masks.append(Mask(kind == 1, targets))
    return grid, masks


def iterate_samples(masks):
    """Yields each sample as sets of patches: its context, and its blocks."""
    for mask in masks:
        for context, targets in zip(mask.context, mask.targets, strict=True):
            blocks = [set(block.nonzero().flatten().tolist()) for block in targets]
            yield set(context.nonzero().flatten().tolist()), blocks


def count_lengths(lengths, longest):
    return [sum(length == n for length in lengths) for n in range(longest + 1)]


@given(batches())
def test_shares_and_visits_are_counts(case):
    grid, masks = case
    result = compute_statistics(masks, grid, 1.0)
    samples = list(iterate_samples(masks))
    shares = [len(context) / grid.size for context, _ in samples]
    assert result.context.mean == pytest.approx(sum(shares) / len(shares))
    assert (
        min(shares) <= result.context.p1 <= result.context.mean <= result.context.p99 <= max(shares)
    )
    unions = [len(set().union(*blocks)) / grid.size for _, blocks in samples]
    assert result.targets.mean == pytest.approx(sum(unions) / len(unions))
    for patch in range(grid.size):
        row, column = divmod(patch, grid.time)
        visible = sum(patch in context for context, _ in samples) / len(samples)
        targeted = sum(any(patch in block for block in blocks) for _, blocks in samples) / len(
            samples
        )
        assert result.context_visits[row, column] == pytest.approx(visible)
        assert result.target_visits[row, column] == pytest.approx(targeted)


def test_percentiles_exclude_one_percent_at_each_end():
    context = torch.arange(100) < torch.arange(1, 100).view(-1, 1)  # 1 to 99 of 100 patches
    result = compute_statistics([Mask(context, ~context.unsqueeze(1))], Grid(1, 100), 1.0)
    assert (result.context.p1, result.context.p99) == pytest.approx((0.0198, 0.9802))


@given(batches())
def test_distances_are_to_the_nearest_context_patch(case):
    grid, masks = case
    result = []
    for context, blocks in iterate_samples(masks):
        for target in set().union(*blocks):
            row, column = divmod(target, grid.time)
            ways = [(abs(row - s // grid.time), abs(column - s % grid.time)) for s in context]
            least = min(freq**2 + time**2 for freq, time in ways)
            nearest = [(freq, time) for freq, time in ways if freq**2 + time**2 == least]
            freq, time = (sum(steps) / len(nearest) for steps in zip(*nearest, strict=True))
            result.append((least**0.5, freq, time))
    straight, freq, time = (sum(way) / len(result) for way in zip(*result, strict=True))
    actual = compute_statistics(masks, grid, 1.0).distance
    assert (actual.straight, actual.freq, actual.time) == pytest.approx((straight, freq, time))


def test_the_distance_in_a_row_without_context_is_to_other_rows():
    context = torch.zeros(1, 3, 40, dtype=torch.bool)
    context[0, 0, 0] = True
    targets = torch.zeros_like(context)
    targets[0, 2, 39] = True
    assert compute_distance(context, targets).straight == pytest.approx((2**2 + 39**2) ** 0.5)


@given(batches())
def test_blocks_span_from_their_first_row_to_their_last(case):
    grid, masks = case
    heights, widths = [], []
    for block in itertools.chain.from_iterable(blocks for _, blocks in iterate_samples(masks)):
        if block:
            rows, columns = zip(*(divmod(patch, grid.time) for patch in block), strict=True)
            heights.append(max(rows) - min(rows) + 1)
            widths.append(max(columns) - min(columns) + 1)
    result = compute_statistics(masks, grid, 1.0)
    assert result.block_heights.tolist() == count_lengths(heights, grid.freq)
    assert result.block_widths.tolist() == count_lengths(widths, grid.time)


@given(batches())
def test_runs_equal_a_loop_along_each_axis(case):
    grid, masks = case
    along = {"time": [], "freq": []}
    for _, blocks in iterate_samples(masks):
        union = set().union(*blocks)
        rows = [[r * grid.time + t for t in range(grid.time)] for r in range(grid.freq)]
        for axis, lines in (("time", rows), ("freq", list(zip(*rows, strict=True)))):
            for line in lines:
                groups = itertools.groupby(patch in union for patch in line)
                along[axis] += [len(list(members)) for is_target, members in groups if is_target]
    result = compute_statistics(masks, grid, 1.0)
    assert result.time_runs.tolist() == count_lengths(along["time"], grid.time)
    assert result.freq_runs.tolist() == count_lengths(along["freq"], grid.freq)


@given(batches())
def test_truncation_loss_and_padding_waste_equal_their_loops(case):
    grid, masks = case
    kept = visible = places = 0
    for mask in masks:
        sizes = [len(context) for context, _ in iterate_samples([mask])]
        visible += sum(sizes)
        kept += min(sizes) * len(sizes)
        places += max(sizes) * len(sizes)
    result = compute_statistics(masks, grid, 1.0)
    assert result.truncation_loss == pytest.approx(1 - kept / visible)
    assert result.padding_waste == pytest.approx(1 - visible / places)


def test_speed_is_masks_per_second():
    context = torch.tensor([[True, False]] * 6)
    result = compute_statistics([Mask(context, ~context.unsqueeze(1))], Grid(1, 2), 3.0)
    assert result.masks_per_second == pytest.approx(2.0)


def test_a_run_may_end_at_the_edge():
    assert run_lengths(torch.tensor([[True, True, False, True]])).tolist() == [2, 1]


def test_nothing_is_lost_if_all_contexts_are_equally_large():
    result = measure(Random(ratio=0.6), Grid(8, 64), batches=2)
    assert (result.truncation_loss, result.padding_waste) == (0.0, 0.0)
    assert result.context.mean == pytest.approx(205 / 512)


def test_multi_block_loses_as_much_as_an_independent_simulation():
    result = measure(MultiBlock(), Grid(8, 64))
    assert result.context.mean == pytest.approx(0.452, abs=0.01)
    assert result.truncation_loss == pytest.approx(0.38, abs=0.03)
    assert result.padding_waste == pytest.approx(0.29, abs=0.03)


def test_a_curriculum_is_averaged_over_training():
    ends = TimeFrequency(), MultiBlock()
    halves = [measure(masker, Grid(8, 64), batches=4).targets.mean for masker in ends]
    result = measure(Curriculum(start=ends[0], end=ends[1]), Grid(8, 64)).targets.mean
    assert min(halves) + 0.05 < result < max(halves) - 0.05


def test_statistics_are_reproducible():
    first, second = (measure(MultiBlock(), Grid(4, 8), batches=2).to_dict() for _ in range(2))
    for figures in (first, second):
        del figures["masks_per_second"]
    assert first == second
