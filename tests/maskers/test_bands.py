"""Masks that predict one stretch of time, or one band of frequency, from the rest."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid, UnsupportedGridError
from maskers.bands import BandSplit, Causal, Infill, SpecAugment

GRID = Grid(8, 64)


def cells(member):
    return member.unflatten(-1, (GRID.freq, GRID.time))


def is_contiguous(lines):
    """Returns whether the marked lines (..., lines) are adjacent."""
    edges = lines.int().diff(dim=-1, prepend=torch.zeros_like(lines[..., :1]).int())
    return (edges == 1).sum(dim=-1) <= 1


def test_every_band_is_a_target_block_of_at_most_the_configured_width():
    masker = SpecAugment(time_bands=3, freq_bands=2, time_width=0.25, freq_width=0.4)
    targets = cells(masker.draw(Clips.unpadded(GRID, 500), generator(0, "x")).targets)
    times, rows = targets[:, :3, 0], targets[:, 3:, :, 0]
    assert is_contiguous(times).all()
    assert is_contiguous(rows).all()
    assert set(times.sum(dim=2).unique().tolist()) == set(range(1, 17))
    assert set(rows.sum(dim=2).unique().tolist()) == {1, 2, 3}
    assert targets.shape[1] == 5


def test_bands_that_cover_a_complete_clip_are_dropped():
    masker = SpecAugment(time_bands=0, freq_bands=12, freq_width=0.5)
    mask = masker.draw(Clips.unpadded(GRID, 500), generator(0, "x"))
    rows = cells(mask.context)
    assert (rows == rows[..., :1]).all(), "a band was dropped only in part"
    assert mask.context.any(dim=1).all()
    assert mask.fallback is not None
    assert mask.fallback.any()


def test_a_causal_context_precedes_its_targets():
    mask = Causal().draw(Clips.unpadded(GRID, 500), generator(0, "x"))
    seen, hidden = cells(mask.context)[:, 0], cells(mask.target_union)[:, 0]
    assert (seen ^ hidden).all()
    assert (seen.int().diff(dim=1) <= 0).all()
    share = seen.float().mean(dim=1)
    assert share.min() == pytest.approx(0.3, abs=0.02)
    assert share.max() == pytest.approx(0.8, abs=0.02)


def test_a_gap_and_a_horizon_bound_the_future():
    masker = Causal(context=0.5, horizon=0.25, gap=3)
    mask = masker.draw(Clips.unpadded(GRID, 4), generator(0, "x"))
    hidden = cells(mask.target_union)[:, 0]
    assert (hidden == ((torch.arange(64) >= 35) & (torch.arange(64) < 51))).all()


def test_a_gap_longer_than_the_future_leaves_the_last_column_as_target():
    mask = Causal(context=0.75, gap=1000).draw(Clips.unpadded(GRID, 4), generator(0, "x"))
    hidden = cells(mask.target_union)[:, 0]
    assert (hidden == (torch.arange(64) == 63)).all()


def test_infill_hides_one_stretch_of_time_at_all_frequencies():
    mask = Infill().draw(Clips.unpadded(GRID, 500), generator(0, "x"))
    hidden = cells(mask.target_union)
    assert (hidden == hidden[:, :1]).all()
    assert is_contiguous(hidden[:, 0]).all()
    share = hidden[:, 0].float().mean(dim=1)
    assert share.min() == pytest.approx(0.2, abs=0.02)
    assert share.max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("context", ["low", "high", "random"])
def test_a_band_split_shows_the_configured_band(context):
    mask = BandSplit(context=context, ratio=0.25).draw(Clips.unpadded(GRID, 400), generator(0, "x"))
    seen = cells(mask.context)[:, :, 0]
    assert (seen.sum(dim=1) == 6).all()
    low = seen[:, 0]
    assert is_contiguous(seen).all()
    assert low.float().mean() == pytest.approx(
        {"low": 1, "high": 0, "random": 0.5}[context], abs=0.1
    )


def test_a_fractional_row_is_visible_in_that_fraction_of_masks():
    mask = BandSplit(ratio=0.45).draw(Clips.unpadded(Grid(2, 4), 4000), generator(0, "x"))
    assert (mask.context.sum(dim=1) == 4).all()  # 1.1 rows; one is always visible
    rows = (
        BandSplit(ratio=0.45)
        .draw(Clips.unpadded(Grid(10, 4), 4000), generator(0, "x"))
        .context.sum(1)
        / 4
    )
    assert set(rows.tolist()) == {5, 6}
    assert rows.mean() == pytest.approx(5.5, abs=0.03)


@pytest.mark.parametrize("masker", [Causal(), SpecAugment(freq_bands=0)], ids=str)
def test_a_clip_of_one_column_still_has_a_target(masker):
    valid = (torch.arange(64) < 1).repeat(8).expand(3, -1)
    mask = masker.draw(Clips(grid=GRID, valid=valid), generator(0, "x"))
    assert (mask.target_union.sum(dim=1) == 1).all()
    assert (mask.context.sum(dim=1) == 7).all()
    assert mask.fallback is not None
    assert mask.fallback.all()


@pytest.mark.parametrize(
    ("masker", "grid"),
    [
        (BandSplit(), Grid(1, 64)),
        (SpecAugment(time_bands=0), Grid(1, 64)),
        (SpecAugment(freq_bands=0), Grid(8, 1)),
    ],
    ids=str,
)
def test_a_grid_of_one_line_is_unsupported(masker, grid):
    with pytest.raises(UnsupportedGridError, match=r"split by frequency|the whole of"):
        masker.draw(Clips.unpadded(grid, 2), generator(0, "x"))


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (SpecAugment, {"time_bands": 0, "freq_bands": 0}, "at least one band"),
        (SpecAugment, {"time_width": 1.5}, "`time_width` must lie in"),
        (Causal, {"context": 1.0}, "`context` 1.0 shows nothing or everything"),
        (Causal, {"gap": -1}, "`gap` is a number of columns"),
        (Causal, {"horizon": 2.0}, "`horizon` must lie in"),
        (Infill, {"ratio": (0.5, 1.0)}, "hides nothing or everything"),
        (BandSplit, {"ratio": 0.0}, "hides nothing or everything"),
    ],
)
def test_invalid_settings_are_errors(family, setting, message):
    with pytest.raises(ValueError, match=message):
        family(**setting)
