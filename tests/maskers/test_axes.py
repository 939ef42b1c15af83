"""Time-frequency-aware masks remove what shares an axis with a target from the context."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers import TimeFrequency


@pytest.mark.parametrize("axes", ["time", "freq", "both"])
def test_the_context_shares_no_removed_axis_with_a_target_except_in_fallbacks(axes):
    grid, batch = Grid(16, 16), 500
    mask = TimeFrequency(axes=axes, min_context=0.05).draw(
        Clips.unpadded(grid, batch), generator(0, "x")
    )
    hidden = mask.target_union.view(batch, grid.freq, grid.time)
    seen = mask.context.view(batch, grid.freq, grid.time)
    in_time = (seen.any(dim=1) & hidden.any(dim=1)).any(dim=1)
    in_freq = (seen.any(dim=2) & hidden.any(dim=2)).any(dim=1)
    shared = {"time": in_time, "freq": in_freq, "both": in_time | in_freq}[axes]
    guarded = {"time": 0.0, "freq": 0.0, "both": 0.25}[axes]
    assert shared.float().mean() <= guarded


@pytest.mark.parametrize("grid", [Grid(8, 64), Grid(5, 38), Grid(3, 4), Grid(1, 32)], ids=str)
def test_the_minimal_context_is_kept_even_if_both_axes_would_empty_it(grid):
    masker = TimeFrequency(axes="both", min_context=0.15)
    mask = masker.draw(Clips.unpadded(grid, 2000), generator(0, "x"))
    assert mask.context.float().mean(dim=1).min() >= 0.15 - 1 / grid.size


def test_a_minimal_context_above_what_the_blocks_leave_is_an_error():
    with pytest.raises(ValueError, match="`min_context` 80%"):
        TimeFrequency(min_context=0.8)


def test_blocks_in_units_of_patches_are_as_high_as_wide_on_every_grid():
    for grid in (Grid(16, 64), Grid(32, 32)):
        masker = TimeFrequency(units="patches", target_aspect=(1.0, 1.0), target_area=(0.05, 0.1))
        targets = masker.draw(Clips.unpadded(grid, 200), generator(0, "x")).targets
        cells = targets.unflatten(-1, (grid.freq, grid.time))
        height, width = cells.any(dim=3).sum(dim=2), cells.any(dim=2).sum(dim=2)
        assert (height - width).abs().max() <= 1
        share = targets.float().mean(dim=2)
        assert share.mean() == pytest.approx(0.075, abs=0.005)


def test_blocks_in_units_of_patches_are_sized_by_the_clip_and_not_by_its_padding():
    grid = Grid(16, 64)
    valid = (torch.arange(64) < 32).repeat(16).expand(200, -1)
    masker = TimeFrequency(units="patches", target_aspect=(1.0, 1.0))
    targets = masker.draw(Clips(grid=grid, valid=valid), generator(0, "x")).targets
    cells = targets.unflatten(-1, (grid.freq, grid.time))
    assert (cells.any(dim=3).sum(dim=2) - cells.any(dim=2).sum(dim=2)).abs().max() <= 1
    assert targets.sum() / valid.sum() / 3 == pytest.approx(0.0625, abs=0.005)


def test_a_block_that_is_limited_in_width_keeps_its_area():
    masker = TimeFrequency(units="patches", target_aspect=(0.05, 0.05), target_area=(0.2, 0.2))
    targets = masker.draw(Clips.unpadded(Grid(32, 16), 50), generator(0, "x")).targets
    assert targets[:, 0].float().mean(dim=1).sub(0.2).abs().max() < 0.02


def test_a_sample_whose_context_would_be_empty_is_a_fallback():
    masker = TimeFrequency(axes="both", units="patches", min_context=0.0)
    mask = masker.draw(Clips.unpadded(Grid(8, 64), 2000), generator(0, "x"))
    literal = masker.draw_literal(Clips.unpadded(Grid(8, 64), 2000), generator(0, "x"))
    assert mask.context.any(dim=1).all()
    assert mask.fallback is not None
    assert mask.fallback.equal(~literal.context.any(dim=1))
