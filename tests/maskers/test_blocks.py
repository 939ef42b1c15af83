"""Block masks have the sizes, positions and fallbacks that they declare."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.mask_sampling import draw_rectangles
from ablate.model.masking import Clips, Grid, UnsupportedGridError
from maskers import MultiBlock
from maskers.blocks import UnionComplement
from maskers.legacy import LegacyMultiBlock

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
    mask = MultiBlock().draw(Clips.unpadded(grid, 4096), generator(0, "x"))
    context, union = SIMULATED[grid]
    assert mask.context.float().mean() == pytest.approx(context, abs=0.02)
    assert mask.target_union.float().mean() == pytest.approx(union, abs=0.02)


def test_blocks_of_a_short_clip_are_sized_by_the_clip_and_not_by_its_padding():
    grid = Grid(4, 64)
    valid = (torch.arange(grid.time) < 16).repeat(grid.freq).expand(2000, -1)
    mask = MultiBlock().draw(Clips(grid=grid, valid=valid), generator(0, "x"))
    assert mask.target_union.sum() / valid.sum() == pytest.approx(0.49, abs=0.03)


@pytest.mark.parametrize("grid", [Grid(1, 4), Grid(4, 8), Grid(8, 8)], ids=str)
def test_a_sample_that_loses_a_block_or_its_context_block_is_a_fallback(grid):
    crowded = MultiBlock(target_area=(0.24, 0.249), context_area=(0.05, 1.0))
    mask = crowded.draw(Clips.unpadded(grid, 500), generator(0, "x"))
    lost = ~mask.targets.any(dim=2).all(dim=1)
    assert lost.any()
    assert (lost <= mask.fallback).all()
    rng, clips = generator(0, "x"), Clips.unpadded(grid, 500)
    block = {"area": (0.24, 0.249), "aspect": (0.75, 1.5)}
    targets = draw_rectangles(clips, (500, 4), **block, generator=rng)
    block = {"area": (0.05, 1.0), "aspect": (1.0, 1.0)}
    context = draw_rectangles(clips, (500,), **block, generator=rng)
    as_drawn = context & ~targets.any(dim=1)
    assert torch.equal(mask.fallback, (mask.context != as_drawn).any(dim=1))


def test_blocks_that_could_hide_a_complete_clip_are_an_error():
    with pytest.raises(ValueError, match="5 blocks of up to 20% could hide the whole clip; lower"):
        MultiBlock(num_targets=5)


def test_a_union_complement_shows_everything_that_no_block_covers():
    mask = UnionComplement().draw(Clips.unpadded(Grid(8, 64), 200), generator(0, "x"))
    assert mask.targets.shape[1] == 1
    assert (mask.context ^ mask.target_union).all()


def test_a_single_block_of_a_union_is_a_solid_rectangle_of_the_configured_area():
    grid = Grid(8, 64)
    mask = UnionComplement(num_blocks=1, area=(0.1, 0.3)).draw(
        Clips.unpadded(grid, 500), generator(0, "x")
    )
    cells = mask.target_union.view(-1, grid.freq, grid.time)
    height, width = cells.any(dim=2).sum(dim=1), cells.any(dim=1).sum(dim=1)
    assert (height * width == cells.sum(dim=(1, 2))).all()
    share = (height * width) / grid.size
    assert share.min() > 0.09
    assert share.max() < 0.31
    assert share.mean() == pytest.approx(0.2, abs=0.01)


def test_the_blocks_of_a_batch_share_one_size_if_configured():
    grid = Grid(16, 64)
    for sizes, expected in (("batch", {1}), ("sample", set(range(5, 500)))):
        masker = UnionComplement(num_blocks=1, area=(0.1, 0.5), sizes=sizes)
        assert masker.promises.coupled == (sizes == "batch")
        hidden = masker.draw(Clips.unpadded(grid, 200), generator(0, "x")).target_union
        assert len(set(hidden.sum(dim=1).tolist())) in expected


def test_a_clip_that_its_blocks_cover_completely_is_redrawn():
    masker = UnionComplement(num_blocks=3, area=0.7)  # one draw in sixteen covers the clip
    mask = masker.draw(Clips.unpadded(Grid(14, 14), 500), generator(0, "x"))
    assert mask.fallback is not None
    assert not mask.fallback.any()
    assert (mask.context ^ mask.target_union).all()


def test_a_clip_that_its_blocks_always_cover_keeps_one_block_as_a_fallback():
    mask = UnionComplement(num_blocks=200, area=0.5).draw(
        Clips.unpadded(Grid(4, 4), 50), generator(0, "x")
    )
    assert mask.fallback is not None
    assert mask.fallback.all()
    assert set(mask.target_union.sum(dim=1).tolist()) == {8, 9}  # 2x4 or 3x3 patches


def test_published_blocks_of_a_batch_share_one_size_and_never_reach_the_last_row_or_column():
    grid = Grid(8, 64)
    for seed in range(20):
        mask = LegacyMultiBlock().draw(Clips.unpadded(grid, 64), generator(seed, "x"))
        assert len(mask.targets.sum(dim=2).unique()) == 1
        used = (mask.context | mask.target_union).view(-1, grid.freq, grid.time)
        assert not used[:, -1].any()
        assert not used[:, :, -1].any()


def test_published_blocks_are_square_in_patches_on_every_grid():
    grid = Grid(32, 128)
    masker = LegacyMultiBlock(target_aspect=(1.0, 1.0), target_area=(0.05, 0.05))
    cells = masker.draw(Clips.unpadded(grid, 8), generator(0, "x")).targets[:, 0].view(-1, 32, 128)
    assert (cells.any(dim=2).sum(dim=1) == 14).all()  # the root of 204 patches
    assert (cells.any(dim=1).sum(dim=1) == 14).all()


def test_the_published_context_overlaps_a_target_only_after_its_tries():
    roomy = LegacyMultiBlock().draw(Clips.unpadded(Grid(14, 14), 500), generator(0, "x"))
    assert not (roomy.context & roomy.target_union).any()
    narrow = LegacyMultiBlock(min_keep=120).draw(
        Clips.unpadded(Grid(14, 14), 500), generator(0, "x")
    )
    overlaps = (narrow.context & narrow.target_union).any(dim=1)
    assert overlaps.any()
    assert narrow.fallback is not None
    assert (overlaps <= narrow.fallback).all()
    assert (narrow.context.sum(dim=1) > 120).all()


def test_the_draw_ends_on_a_grid_where_the_published_collator_would_not():
    masker = LegacyMultiBlock(min_keep=1000)
    mask = masker.draw(Clips.unpadded(Grid(5, 13), 16), generator(0, "x"))
    assert mask.context.any(dim=1).all()


@pytest.mark.parametrize(
    ("grid", "never"), [((4, 8), 1), ((4, 16), 1), ((8, 8), 0.485), ((8, 16), 0)], ids=str
)
def test_the_collator_would_not_end_on_grids_whose_targets_are_too_few_patches(grid, never):
    batches = [
        LegacyMultiBlock().draw(Clips.unpadded(Grid(*grid), 1), generator(s, "x"))
        for s in range(400)
    ]
    small = [bool((mask.targets.sum(dim=2) <= LegacyMultiBlock.min_keep).any()) for mask in batches]
    assert sum(small) / len(small) == pytest.approx(never, abs=0.07)


@pytest.mark.parametrize("grid", [Grid(1, 64), Grid(64, 1)], ids=str)
def test_published_blocks_do_not_support_a_grid_of_one_row_or_column(grid):
    with pytest.raises(UnsupportedGridError, match="use MultiBlock"):
        LegacyMultiBlock().draw(Clips.unpadded(grid, 2), generator(0, "x"))


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (UnionComplement, {"num_blocks": 0}, "`num_blocks` must be at least 1"),
        (UnionComplement, {"area": 1.0}, "`area` 1.0 hides nothing or everything"),
        (UnionComplement, {"area": (0.3, 0.1)}, "`area` must lie in"),
        (LegacyMultiBlock, {"num_targets": 0}, "`num_targets` must be at least 1"),
        (LegacyMultiBlock, {"min_keep": -1}, "`min_keep` is a number of patches"),
    ],
)
def test_invalid_settings_are_errors(family, setting, message):
    with pytest.raises(ValueError, match=message):
        family(**setting)
