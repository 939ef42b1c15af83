"""Masks that treat time and frequency apart."""

import pytest

from ablate.chance import generator
from ablate.model.masking import Grid
from maskers import TimeFrequency


@pytest.mark.parametrize("axes", ["time", "freq", "both"])
def test_nothing_visible_shares_the_removed_axes_with_a_target_unless_the_guard_steps_in(axes):
    grid, batch = Grid(16, 16), 500
    mask = TimeFrequency(axes=axes, min_context=0.05)(grid, batch, generator=generator(0, "x"))
    hidden = mask.target_union.view(batch, grid.freq, grid.time)
    seen = mask.context.view(batch, grid.freq, grid.time)
    in_time = (seen.any(dim=1) & hidden.any(dim=1)).any(dim=1)
    in_freq = (seen.any(dim=2) & hidden.any(dim=2)).any(dim=1)
    shared = {"time": in_time, "freq": in_freq, "both": in_time | in_freq}[axes]
    guarded = {"time": 0.0, "freq": 0.0, "both": 0.25}[axes]
    assert shared.float().mean() <= guarded


@pytest.mark.parametrize("grid", [Grid(8, 64), Grid(5, 38), Grid(3, 4), Grid(1, 32)], ids=str)
def test_the_guard_keeps_the_least_context_where_both_axes_would_empty_it(grid):
    masker = TimeFrequency(axes="both", min_context=0.15)
    mask = masker(grid, 2000, generator=generator(0, "x"))
    assert mask.context.float().mean(dim=1).min() >= 0.15 - 1 / grid.size


def test_a_guard_above_what_the_blocks_leave_is_refused():
    with pytest.raises(ValueError, match="`min_context` 80%"):
        TimeFrequency(min_context=0.8)
