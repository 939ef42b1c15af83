"""Block masks."""

import pytest
import torch

from ablate.chance import generator
from ablate.model.masking import Grid
from maskers import MultiBlock

# realised shares of the corrected masker, simulated independently: context, union of targets
SIMULATED = {
    Grid(14, 14): (0.459, 0.48),
    Grid(8, 64): (0.452, 0.48),
    Grid(16, 8): (0.448, 0.49),
    Grid(5, 38): (0.437, 0.49),
    Grid(1, 250): (0.415, 0.52),
}


@pytest.mark.parametrize("grid", SIMULATED, ids=str)
def test_blocks_leave_as_much_visible_on_every_grid_as_simulated(grid):
    mask = MultiBlock()(grid, 4096, generator=generator(0, "x"))
    context, union = SIMULATED[grid]
    assert mask.context.float().mean() == pytest.approx(context, abs=0.02)
    assert mask.target_union.float().mean() == pytest.approx(union, abs=0.02)


def test_blocks_of_a_short_clip_are_sized_by_the_clip_and_not_by_its_padding():
    grid = Grid(4, 64)
    valid = (torch.arange(grid.time) < 16).repeat(grid.freq).expand(2000, -1)
    mask = MultiBlock()(grid, 2000, generator=generator(0, "x"), valid=valid)
    assert mask.target_union.sum() / valid.sum() == pytest.approx(0.49, abs=0.03)


def test_blocks_that_could_hide_the_whole_clip_are_refused():
    with pytest.raises(ValueError, match="5 blocks of up to 20% could hide the whole clip; lower"):
        MultiBlock(num_targets=5)
