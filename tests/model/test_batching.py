"""Batching of samples with different numbers of visible patches."""

import pytest
import torch
from hypothesis import given

import maskers
from ablate.core.random import generator
from ablate.model.batching import truncate
from ablate.model.jepa import JEPA
from ablate.model.masking import Clips, Grid, Mask
from ablate.model.objectives import SmoothL1
from ablate.model.packing import pack, pad
from ablate.model.predictor import Joint
from ablate.model.segments import Segments
from ablate.model.targets import Teacher
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.testing import Case, cases

GRID, PIXELS, CLIPS = Grid(4, 8), 6, 5


def build() -> JEPA:
    encoder = ViT(dim=16, layers=2, heads=2).build(GRID, PIXELS)
    initialise(encoder, 0, "encoder")
    target = Teacher().build(encoder, GRID, PIXELS)
    predictor = Joint(dim=8, layers=2, heads=2).build(GRID, encoder.dim, target.dim)
    jepa = JEPA(encoder, predictor, target, 0)
    initialise(jepa.target.encoder, 1, "encoder")
    return jepa


def batch(masker=None) -> tuple[torch.Tensor, Mask, torch.Tensor]:
    patches = torch.randn(CLIPS, GRID.size, PIXELS, generator=generator(0, "patches"))
    valid = (torch.arange(8) < torch.tensor([[8], [3], [8], [5], [2]])).repeat(1, 4)
    masker = masker or maskers.MultiBlock()
    return patches, masker.draw(Clips(grid=GRID, valid=valid), generator(0, "m")), valid


def test_padding_gives_the_same_loss_and_gradients_as_packing():
    patches, mask, valid = batch()
    losses, gradients = [], []
    for batching in ("pack", "pad"):
        jepa = build()
        loss = jepa(patches, mask, valid, batching).loss(SmoothL1())
        loss.backward()
        losses.append(loss)
        gradients.append([p.grad for p in jepa.parameters() if p.requires_grad])
    assert torch.allclose(*losses, atol=1e-6)
    for packed, padded in zip(*gradients, strict=True):
        assert torch.allclose(packed, padded, atol=1e-5)


def test_padding_fills_every_sample_up_to_the_longest():
    _, mask, _ = batch()
    packed, padded = pack(mask.context), pad(mask.context)
    longest = max(packed.segments.lengths)
    assert padded.segments.lengths == (longest,) * CLIPS
    assert padded.segments.num_real == packed.segments.num_tokens
    real = padded.segments.real.flatten()
    assert torch.equal(padded.index[real], packed.index)


def test_padded_segments_of_unequal_length_are_rejected():
    with pytest.raises(ValueError, match="padded segments must have equal lengths"):
        Segments((2, 3), filler=torch.zeros(5, dtype=torch.bool))


@given(cases(max_freq=4, max_time=16))
def test_truncating_cuts_all_contexts_and_all_blocks_to_the_smallest(case: Case):
    mask = maskers.MultiBlock().draw(case.clips, generator(case.seed, "m"))
    for batching in ("truncate_first", "truncate_random"):
        cut = truncate(mask, batching, generator(0, "cut"))
        for before, after in ((mask.context, cut.context), (mask.targets, cut.targets)):
            counts = before.sum(dim=-1)
            assert not (after & ~before).any()
            assert (after.sum(dim=-1)[counts > 0] == counts[counts > 0].min()).all()
            assert not after.any(dim=-1)[counts == 0].any()


def test_truncating_first_keeps_the_first_patches_in_raster_order():
    context = torch.tensor([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0]], dtype=torch.bool)
    cut = truncate(Mask(context, ~context.unsqueeze(1)), "truncate_first", generator(0, "x"))
    assert cut.context.tolist() == [
        [True, False, True, False, False, False],
        [False, True, False, False, True, False],
    ]


def test_random_truncation_keeps_every_patch_equally_often():
    context = torch.ones(2000, 10, dtype=torch.bool)
    context[0, 5:] = False
    targets = (~context).unsqueeze(1)
    targets[1:, 0, :1] = True
    cut = truncate(Mask(context, targets), "truncate_random", generator(0, "x"))
    assert cut.context[1:].float().mean(dim=0) == pytest.approx(torch.full((10,), 0.5), abs=0.05)


def test_each_kind_of_mask_of_a_clip_is_cut_by_itself():
    small, large = maskers.Random(ratio=0.8), maskers.Random(ratio=0.4)
    clips = Clips.unpadded(Grid(4, 8), batch=6)
    mask = maskers.MultiMask(maskers=(small, large)).draw(clips, generator(0, "m"))
    cut = truncate(mask, "truncate_first", generator(0, "cut"), copies=2)
    assert cut.context.sum(dim=1).view(6, 2).unique(dim=0).tolist() == [[6, 19]]
    assert cut.target_union.sum(dim=1).view(6, 2).unique(dim=0).tolist() == [[26, 13]]


def test_packing_does_not_truncate():
    _, mask, _ = batch()
    assert truncate(mask, "pack", generator(0, "x")) is mask


def test_several_masks_per_clip_equal_as_many_clips_with_one_mask_each():
    patches, mask, valid = batch(maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=3))
    once, often = build(), build()
    loss = once(patches, mask, valid).loss(SmoothL1())
    repeated = patches.repeat_interleave(3, dim=0), mask, valid.repeat_interleave(3, dim=0)
    expected = often(*repeated).loss(SmoothL1())
    loss.backward()
    expected.backward()
    assert torch.allclose(loss, expected, atol=1e-6)
    for actual, reference in zip(
        once.encoder.parameters(), often.encoder.parameters(), strict=True
    ):
        assert torch.allclose(actual.grad, reference.grad, atol=1e-5)
