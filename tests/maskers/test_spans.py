"""Span masks hide an exact number of columns in spans of the declared lengths."""

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid, UnsupportedGridError
from ablate.testing import Case, cases
from maskers.spans import M2DSpans, RandomSpans, SeparateSpans, Spans
from maskers.strips import TimeStrips
from maskers.wavjepa import WavJEPAInverse, WavJEPASpeech

EXACT = [Spans, RandomSpans, SeparateSpans, M2DSpans]
LONG = Grid(1, 400)


def list_runs(marked):
    """Lists the lengths of all runs of marked columns in (columns,)."""
    values, counts = torch.unique_consecutive(marked, return_counts=True)
    return counts[values].tolist()


@pytest.mark.parametrize("family", EXACT)
@settings(max_examples=20)
@given(case=cases(max_freq=4, max_time=100), ratio=st.floats(0.05, 0.9))
def test_an_exact_number_of_complete_columns_is_hidden_in_every_clip(family, case: Case, ratio):
    columns = torch.tensor(case.columns)
    if case.grid.time == 1 or (columns == 1).any():
        return  # one column cannot be split by time
    mask = family(ratio=ratio).draw(case.clips, generator(case.seed, "x"))
    hidden = mask.target_union.view(-1, case.grid.freq, case.grid.time)
    assert (hidden == hidden[:, :1]).all()
    expected = (columns * ratio).clamp(min=1).minimum(columns - 1)
    assert ((hidden[:, 0].sum(dim=1) - expected).abs() <= 0.501).all()
    assert (mask.context | mask.target_union).equal(case.valid)


def test_spans_have_their_length_except_at_the_ends_and_where_one_is_cut():
    hidden = (
        Spans(ratio=0.3, length=10).draw(Clips.unpadded(LONG, 200), generator(0, "x")).target_union
    )
    inner = [run for row in hidden for run in list_runs(row[10:-10])]
    assert sum(run < 10 for run in inner) / len(inner) < 0.2
    assert min(len(list_runs(row)) for row in hidden) > 3


@pytest.mark.parametrize(
    ("masker", "bias"),
    [
        (Spans(), 0.05),
        (RandomSpans(), 0.05),
        (RandomSpans(lengths="geometric", mean=5, longest=10), 0.05),
        (SeparateSpans(), 0.05),
        (
            M2DSpans(),
            0.12,
        ),  # spans that extend over an end cover fewer columns, so fewer are revealed
    ],
    ids=str,
)
def test_every_column_is_hidden_nearly_equally_often_if_the_count_is_exact(masker, bias):
    mask = masker.draw(Clips.unpadded(Grid(1, 64), 6000), generator(1, "x"))  # standard error 0.01
    visits = mask.target_union.float().mean(dim=0)
    assert (visits / visits.mean() - 1).abs().max() < bias


def test_the_published_draw_never_hides_the_last_column():
    mask = Spans(count="nominal").draw(Clips.unpadded(Grid(1, 64), 2000), generator(0, "x"))
    assert not mask.target_union[:, -1].any()
    assert mask.target_union[:, -2].any()


@pytest.mark.parametrize("lengths", ["poisson", "geometric"])
def test_random_spans_have_lengths_of_the_configured_distribution(lengths):
    masker = RandomSpans(ratio=0.02, lengths=lengths, mean=5, longest=40)  # few: seldom overlap
    hidden = masker.draw(Clips.unpadded(Grid(1, 4000), 60), generator(0, "x")).target_union
    drawn = torch.tensor([run for row in hidden for run in list_runs(row)], dtype=torch.float)
    spread = {"poisson": 5**0.5, "geometric": (5 * 4) ** 0.5}[lengths]
    assert drawn.mean() == pytest.approx(5, abs=0.3)
    assert drawn.std() == pytest.approx(spread, abs=0.6)


def test_spans_of_random_lengths_of_mean_one_are_single_columns():
    one = RandomSpans(ratio=0.02, lengths="geometric", mean=1, longest=9)
    hidden = one.draw(Clips.unpadded(Grid(1, 4000), 8), generator(0, "x")).target_union
    alone = torch.tensor([run for row in hidden for run in list_runs(row)], dtype=torch.float)
    assert hidden.sum(dim=1).tolist() == [80] * 8
    assert alone.mean() < 1.1  # two that were drawn side by side look like one


@settings(max_examples=40)
@given(
    columns=st.integers(20, 200),
    length=st.integers(2, 12),
    gap=st.integers(1, 6),
    seed=st.integers(),
)
def test_separate_spans_keep_their_gap_and_differ_in_length_by_at_most_one(
    columns, length, gap, seed
):
    ratio = 0.6 * length / (length + gap)
    masker = SeparateSpans(ratio=ratio, length=length, gap=gap)
    hidden = masker.draw(Clips.unpadded(Grid(1, columns), 8), generator(seed, "x")).target_union
    for row in hidden:
        first = int((~row).nonzero()[0])
        ring = row.roll(-first)  # begins with a visible column: no span crosses the end
        spans, gaps = list_runs(ring), list_runs(~ring)
        if len(spans) > 1:
            assert max(spans) - min(spans) <= 1
            assert max(spans) <= length
            first_and_last = gaps[0] + (gaps[-1] if not ring[-1] else 0)
            inner = gaps[1 : len(spans)]
            assert min([*inner, first_and_last]) >= gap


@pytest.mark.parametrize("columns", [8, 16])
def test_m2d_hides_runs_longer_than_chance_on_a_grid_shorter_than_its_spans(columns):
    grid = Grid(1, columns)
    spans = M2DSpans().draw(Clips.unpadded(grid, 1000), generator(0, "x"))
    single = TimeStrips().draw(Clips.unpadded(grid, 1000), generator(1, "x"))
    hidden, by_chance = (
        statistics.mean(length for row in mask.target_union for length in list_runs(row))
        for mask in (spans, single)
    )
    assert hidden > 1.2 * by_chance


def test_m2d_reveals_columns_at_random_or_at_the_end_as_in_the_reference_code():
    grid = Grid(1, 64)
    fixed = (
        M2DSpans(ratio=0.6, length=20)
        .draw(Clips.unpadded(grid, 4000), generator(0, "x"))
        .target_union
    )
    as_in_reference_code = (
        M2DSpans(ratio=0.6, length=20, as_in_reference_code=True)
        .draw(Clips.unpadded(grid, 4000), generator(0, "x"))
        .target_union
    )
    assert as_in_reference_code[:, 0].float().mean() < 0.2  # few spans begin with the clip
    assert as_in_reference_code[:, -1].float().mean() < 0.2
    assert fixed[:, 0].float().mean() > 0.5
    holes = [1 in list_runs(~row) for row in fixed]
    assert sum(holes) / len(holes) > 0.5
    assert sum(1 in list_runs(~row[1:-1]) for row in as_in_reference_code) / len(holes) < 0.2


@pytest.mark.parametrize("masker", [WavJEPAInverse(), WavJEPASpeech()], ids=str)
def test_targets_are_sets_of_spans_that_are_not_visible(masker):
    mask = masker.draw(Clips.unpadded(LONG, 300), generator(0, "x"))
    assert mask.targets.shape[1] == 4
    assert mask.targets.any(dim=2).all()
    assert not (mask.context & mask.target_union).any()
    assert min(run for targets in mask.targets for row in targets for run in list_runs(row)) >= 10
    share = mask.context.float().mean(dim=1)
    assert share.min() >= masker.min_context


def test_the_speech_masker_shows_long_runs_only():
    mask = WavJEPASpeech(min_run=7).draw(Clips.unpadded(LONG, 300), generator(0, "x"))
    assert min(run for row in mask.context for run in list_runs(row)) == 7
    assert not (mask.context | mask.target_union).all()


def test_a_clip_without_enough_context_drops_target_sets_as_a_fallback():
    masker = WavJEPAInverse(unseen_ratio=0.99, unseen_length=1, min_context=0.5)
    mask = masker.draw(Clips.unpadded(LONG, 50), generator(0, "x"))
    assert mask.fallback is not None
    assert mask.fallback.all()
    assert (mask.context.float().mean(dim=1) >= 0.5).all()
    assert mask.targets[:, 0].any(dim=1).all()


@pytest.mark.parametrize("masker", [Spans(), SeparateSpans(), WavJEPAInverse()], ids=str)
def test_a_grid_of_one_column_is_unsupported(masker):
    with pytest.raises(UnsupportedGridError, match="no span of time can split"):
        masker.draw(Clips.unpadded(Grid(8, 1), 2), generator(0, "x"))


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (Spans, {"ratio": 0.0}, "hides nothing or everything"),
        (Spans, {"length": 0}, "`length` must be at least 1 patch"),
        (RandomSpans, {"mean": 50.0}, "`mean` must lie between 1 and `longest`"),
        (SeparateSpans, {"ratio": 0.95}, "with gaps of 1 hide at most 0.91"),
        (M2DSpans, {"length": 0}, "`length` must be at least 1 patch"),
        (WavJEPAInverse, {"num_targets": 0}, "`num_targets` and lengths must be at least 1"),
        (WavJEPASpeech, {"min_context": 1.5}, "`min_context` must lie in"),
    ],
)
def test_invalid_settings_are_errors(family, setting, message):
    with pytest.raises(ValueError, match=message):
        family(**setting)
