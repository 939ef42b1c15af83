"""Strip masks hide whole rows and columns in the declared number and pattern."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid, UnsupportedGridError
from ablate.testing import Case, cases
from maskers.strips import (
    FrequencyStrips,
    TimeFrequencyProduct,
    TimeFrequencyUnion,
    TimeStrips,
    Tube,
)


def cells(member, grid):
    return member.view(-1, grid.freq, grid.time)


@settings(max_examples=25)
@given(case=cases(max_freq=8, max_time=64), ratio=st.floats(0.05, 0.95), width=st.integers(1, 9))
def test_time_strips_hide_an_exact_number_of_columns(case: Case, ratio, width):
    columns = torch.tensor(case.columns)
    if case.grid.time == 1 or (columns == 1).any():
        return  # one column cannot be split by time
    mask = TimeStrips(ratio=ratio, width=width).draw(case.clips, generator(case.seed, "x"))
    hidden, seen = cells(mask.target_union, case.grid), cells(mask.context, case.grid)
    assert not (hidden.any(dim=1) & seen.any(dim=1)).any()
    expected = (columns * ratio).clamp(min=1).minimum(columns - 1)
    assert ((hidden.any(dim=1).sum(dim=1) - expected).abs() <= 0.501).all()


@settings(max_examples=25)
@given(freq=st.integers(2, 16), ratio=st.floats(0.05, 0.95), width=st.integers(1, 9))
def test_frequency_strips_hide_an_exact_number_of_rows(freq, ratio, width):
    grid = Grid(freq, 7)
    mask = FrequencyStrips(ratio=ratio, width=width).draw(
        Clips.unpadded(grid, 8), generator(0, "x")
    )
    hidden, seen = cells(mask.target_union, grid), cells(mask.context, grid)
    assert not (hidden.any(dim=2) & seen.any(dim=2)).any()
    expected = min(max(freq * ratio, 1), freq - 1)
    assert ((hidden.any(dim=2).sum(dim=1) - expected).abs() <= 0.501).all()


@pytest.mark.parametrize("width", [1, 4, 8])
def test_strips_have_the_configured_width_except_one(width):
    hidden = TimeStrips(ratio=0.25, width=width).draw(
        Clips.unpadded(Grid(1, 256), 200), generator(0, "x")
    )
    runs = [run for row in hidden.target_union for run in list_runs(row[8:-8])]
    complete = [run for run in runs if run % width == 0]
    assert min(complete) == width
    assert len(complete) / len(runs) > 0.8


def test_a_tube_keeps_its_pattern_for_its_length():
    grid = Grid(8, 64)
    for length in (None, 16):
        hidden = (
            Tube(ratio=0.5, length=length)
            .draw(Clips.unpadded(grid, 50), generator(0, "x"))
            .target_union
        )
        tubes = cells(hidden, grid).unfold(2, length or 64, length or 64)  # rows, tubes, columns
        assert (tubes == tubes[..., :1]).all()
        assert (tubes[..., 0].sum(dim=1) == 4).all()
    assert not (tubes[:, :, 0] == tubes[:, :, 1]).all()


def test_a_tube_along_frequency_keeps_a_pattern_of_columns():
    grid = Grid(8, 64)
    masker = Tube(ratio=0.5, along="freq", length=4)
    hidden = cells(masker.draw(Clips.unpadded(grid, 50), generator(0, "x")).target_union, grid)
    assert (hidden[:, :4] == hidden[:, :1]).all()
    assert (hidden[:, 4:] == hidden[:, 4:5]).all()
    assert not (hidden[:, 0] == hidden[:, 4]).all()
    assert (hidden.sum(dim=2) == 32).all()


def test_a_product_shows_the_crossings_of_kept_rows_and_kept_columns():
    grid = Grid(8, 64)
    seen = cells(
        TimeFrequencyProduct().draw(Clips.unpadded(grid, 100), generator(0, "x")).context, grid
    )
    rows, times = seen.any(dim=2, keepdim=True), seen.any(dim=1, keepdim=True)
    assert (seen == (rows & times)).all()
    assert (rows.sum(dim=1) == 6).all()  # 0.3 of 8 rows are hidden, rounded
    assert (times.sum(dim=2) == 19).all()  # 0.7 of 64 columns are hidden, rounded


@pytest.mark.parametrize("grid", [Grid(8, 64), Grid(5, 38), Grid(1, 64)], ids=str)
def test_a_union_hides_rows_and_columns_and_the_configured_share(grid):
    mask = TimeFrequencyUnion(ratio=0.7).draw(Clips.unpadded(grid, 500), generator(0, "x"))
    seen = cells(mask.context, grid)
    rows, times = seen.any(dim=2, keepdim=True), seen.any(dim=1, keepdim=True)
    assert (seen == (rows & times)).all()
    half_a_column = 0.5 / grid.time
    assert (mask.context.float().mean(dim=1) - 0.3).abs().max() <= half_a_column + 1e-6
    if grid.freq > 1:
        assert len(rows.sum(dim=1).unique()) > 2  # every sample draws its own number


@pytest.mark.parametrize("ratio", [0.1, 0.35])
def test_a_union_of_one_column_rounds_the_share_by_less_than_a_row(ratio):
    mask = TimeFrequencyUnion(ratio=ratio).draw(Clips.unpadded(Grid(20, 1), 50), generator(0, "x"))
    assert (mask.context.sum(dim=1) == round(20 * (1 - ratio))).all()


@pytest.mark.parametrize(("freq", "time"), [(64, 1), (32, 2), (32, 3)])
def test_a_union_of_few_columns_hides_the_configured_share_by_its_rows(freq, time):
    masker = TimeFrequencyUnion(ratio=0.7)
    mask = masker.draw(Clips.unpadded(Grid(freq, time), 200), generator(0, "x"))
    shares = mask.context.float().mean(dim=1)
    assert ((shares - 0.3).abs() <= (1 / freq if time == 1 else 0.5 / time)).all()
    assert shares.mean() == pytest.approx(0.3, abs=0.02 if time == 1 else 0.06)


def test_the_reference_union_shows_patches_of_the_drawn_lines_only():
    grid = Grid(3, 5)
    for seed in range(20):
        mask = TimeFrequencyUnion(as_in_reference_code=True).draw(
            Clips.unpadded(grid, 20), generator(seed, "x")
        )
        number = mask.context.sum(dim=1).unique()
        assert len(number) == 1  # shared by the batch
        for target in cells(mask.target_union, grid):
            assert any(
                target[list(rows)][
                    :, list(columns)
                ].all()  # crossings of the lines that were not drawn
                for rows in list_subsets(grid.freq)
                for columns in list_subsets(grid.time)
                if len(rows) * len(columns) == number
            )


def test_the_reference_union_shows_scattered_patches_instead_of_crossings():
    grid = Grid(8, 64)
    for seed in range(20):
        mask = TimeFrequencyUnion(as_in_reference_code=True).draw(
            Clips.unpadded(grid, 20), generator(seed, "x")
        )
        seen = cells(mask.context, grid)
        crossings = seen.any(dim=2, keepdim=True) & seen.any(dim=1, keepdim=True)
        assert (seen != crossings).flatten(1).any(dim=1).all()


def list_subsets(count):
    return [subset for size in range(count + 1) for subset in combinations(range(count), size)]


@pytest.mark.parametrize(
    ("masker", "grid"),
    [
        (TimeStrips(), Grid(8, 1)),
        (FrequencyStrips(), Grid(1, 64)),
        (Tube(), Grid(1, 64)),
        (Tube(along="freq"), Grid(8, 1)),
    ],
    ids=str,
)
def test_a_grid_of_one_line_is_unsupported(masker, grid):
    with pytest.raises(UnsupportedGridError, match="and hiding it would hide the clip"):
        masker.draw(Clips.unpadded(grid, 2), generator(0, "x"))


def test_a_clip_of_one_column_still_has_a_context():
    grid = Grid(8, 64)
    valid = (torch.arange(64) < 1).repeat(8).expand(3, -1)
    mask = TimeStrips().draw(Clips(grid=grid, valid=valid), generator(0, "x"))
    assert (mask.context.sum(dim=1) == 1).all()
    assert mask.fallback is not None
    assert mask.fallback.all()


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (TimeStrips, {"ratio": 0.0}, "`ratio` 0.0 hides nothing or everything"),
        (TimeStrips, {"width": 0}, "`width` must be at least 1 patch"),
        (FrequencyStrips, {"ratio": 1.0}, "`ratio` 1.0 hides nothing or everything"),
        (Tube, {"length": -1}, "`length` must be at least 1 patch"),
        (TimeFrequencyProduct, {"time": 0.0}, "use TimeStrips or FrequencyStrips"),
        (TimeFrequencyUnion, {"ratio": 1.5}, "`ratio` must lie in"),
    ],
)
def test_invalid_settings_are_errors(family, setting, message):
    with pytest.raises(ValueError, match=message):
        family(**setting)


def list_runs(marked):
    values, counts = torch.unique_consecutive(marked, return_counts=True)
    return counts[values].tolist()
