"""Masks of growing regions hide an exact number of patches in the declared shapes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from ablate.testing import Case, cases
from maskers import Random
from maskers.regions import BlockWise, Clusters, InverseBlock

GROWING = [InverseBlock, Clusters, BlockWise]


@settings(max_examples=15)
@pytest.mark.parametrize("family", GROWING)
@given(case=cases(max_time=64), ratio=st.floats(0.05, 0.95))
def test_the_count_is_exact_for_every_clip_and_every_patch_is_used(family, case: Case, ratio):
    mask = family(ratio=ratio).draw(case.clips, generator(case.seed, "x"))
    count = case.valid.sum(dim=1)
    expected = ((1 - ratio) * count).clamp(min=1).minimum(count - 1)
    assert ((mask.context.sum(dim=1) - expected).abs() <= 0.501).all()
    assert (mask.context | mask.target_union).equal(case.valid)


def test_an_inverse_block_shows_squares_and_single_patches_make_up_the_count():
    grid = Grid(16, 64)
    mask = InverseBlock(adjust=0.0).draw(Clips.unpadded(grid, 200), generator(0, "x"))
    squares = _mark_solid(mask.context.view(-1, grid.freq, grid.time), 5, 5)
    assert (squares.sum() / mask.context.sum()) > 0.6  # squares overlap and are cut by the edges
    by_chance = InverseBlock(adjust=0.0, length=1).draw(
        Clips.unpadded(grid, 200), generator(0, "x")
    )
    assert not _mark_solid(by_chance.context.view(-1, grid.freq, grid.time), 5, 5).any()


@pytest.mark.parametrize("grid", [Grid(4, 8), Grid(8, 8), Grid(1, 64)], ids=str)
def test_an_inverse_block_differs_from_a_random_mask_if_less_than_a_square_is_visible(grid):
    block = InverseBlock().draw(Clips.unpadded(grid, 2000), generator(0, "x"))
    single = Random(ratio=0.8).draw(Clips.unpadded(grid, 2000), generator(1, "x"))
    assert _count_neighbours(block.context, grid) > 1.2 * _count_neighbours(single.context, grid)


def test_flexible_shapes_are_drawn_per_sample():
    grid = Grid(16, 64)
    masker = InverseBlock(adjust=0.0, shapes=((2, 10), (10, 2)))
    context = masker.draw(Clips.unpadded(grid, 200), generator(0, "x")).context
    cells = context.view(-1, grid.freq, grid.time)
    wide = _mark_solid(cells, 2, 10).flatten(1).any(dim=1)
    high = _mark_solid(cells, 10, 2).flatten(1).any(dim=1)
    assert 0.35 < wide.float().mean() < 0.65
    assert (wide ^ high).float().mean() > 0.9


def test_clusters_are_squares_of_the_configured_side():
    grid = Grid(16, 64)
    mask = Clusters(ratio=0.2, side=(4, 4)).draw(Clips.unpadded(grid, 200), generator(0, "x"))
    hidden = mask.target_union.view(-1, grid.freq, grid.time)
    inside = torch.zeros_like(hidden)
    inside[:, 4:-4, 4:-4] = True  # squares extend over the edges
    complete = _mark_solid(hidden, 4, 4) & inside
    assert complete.sum() / (hidden & inside).sum() > 0.9  # the last square is cut short
    assert not _mark_solid(hidden, 16, 4).any()


def test_clusters_hide_every_patch_alike_and_the_published_ones_do_not():
    grid = Grid(8, 64)
    even = (
        Clusters()
        .draw(Clips.unpadded(grid, 4000), generator(0, "x"))
        .target_union.float()
        .mean(dim=0)
    )
    assert even.min() > 0.74
    assert even.max() < 0.82
    published = Clusters(legacy=True).draw(Clips.unpadded(grid, 4000), generator(0, "x"))
    biased = published.target_union.float().mean(dim=0)
    assert biased[0] == 0
    assert biased[: grid.time].mean() < 0.5


def test_published_clusters_continue_in_the_next_row():
    grid = Grid(2, 64)
    masker = Clusters(ratio=0.03, side=(2, 2), legacy=True)  # 4 of 128 patches: one square
    hidden = masker.draw(Clips.unpadded(grid, 4000), generator(0, "x")).target_union
    ends = torch.tensor([63, 64])  # the end of the first row, the beginning of the second
    assert (hidden.sum(dim=1) == 4).all()
    assert hidden[:, ends].all(dim=1).any()


def test_published_clusters_never_hide_the_first_patch_even_if_all_others_are_hidden():
    mask = Clusters(ratio=0.9, legacy=True).draw(Clips.unpadded(Grid(2, 3), 50), generator(0, "x"))
    assert (mask.target_union.sum(dim=1) == 5).all()
    assert not mask.target_union[:, 0].any()


def test_blocks_of_block_wise_masks_are_few_and_large():
    grid = Grid(14, 14)
    hidden = BlockWise(ratio=0.4).draw(Clips.unpadded(grid, 200), generator(0, "x")).target_union
    cells = hidden.view(-1, grid.freq, grid.time)
    assert (_mark_solid(cells, 3, 3).sum() / cells.sum()) > 0.75


def test_block_wise_masks_complete_the_count_if_no_rectangle_fits():
    masker = BlockWise(ratio=0.9, max_steps=1)
    mask = masker.draw(Clips.unpadded(Grid(8, 64), 8), generator(0, "x"))
    assert (mask.context.sum(dim=1) == 51).all()


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (InverseBlock, {"ratio": 1.0}, "`ratio` 1.0 hides nothing or everything"),
        (InverseBlock, {"length": 0}, "must be pairs of sides of at least 1 patch"),
        (InverseBlock, {"shapes": ((5, 5), (0, 3))}, "must be pairs of sides of at least 1 patch"),
        (InverseBlock, {"shapes": ((),)}, r"`shapes` must be pairs of sides.*got \[\(\)\]"),
        (InverseBlock, {"shapes": ((5,),)}, "`shapes` must be pairs of sides"),
        (InverseBlock, {"adjust": -0.1}, "`adjust` must lie in"),
        (Clusters, {"side": (5, 3)}, "`side` must be 1 patch or more, lower end first"),
        (BlockWise, {"max_steps": 0}, "`min_patches` and `max_steps` must be at least 1"),
        (BlockWise, {"aspect": (2.0, 0.5)}, "`aspect` must lie in"),
    ],
)
def test_invalid_settings_are_errors(family, setting, message):
    with pytest.raises(ValueError, match=message):
        family(**setting)


def _mark_solid(cells, height, width):
    """Marks the cells that are in some solid rectangle of marked cells."""
    windows = cells.unfold(1, height, 1).unfold(2, width, 1).flatten(3).all(dim=3)
    out = torch.zeros_like(cells)
    for row in range(height):
        for column in range(width):
            part = out[:, row : row + windows.shape[1], column : column + windows.shape[2]]
            part |= windows
    return out


def _count_neighbours(context, grid):
    """Counts adjacent pairs of visible patches, per visible patch."""
    cells = context.view(-1, grid.freq, grid.time)
    across, along = cells[:, :, 1:] & cells[:, :, :-1], cells[:, 1:] & cells[:, :-1]
    return (across.sum() + along.sum()) / cells.sum()
