"""The JEPA on packed tokens, compared with a loop over samples."""

import copy

import pytest
import torch

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.jepa import JEPA
from ablate.model.masking import Clips, Grid, Mask
from ablate.model.objectives import L2, SmoothL1
from ablate.model.predictor import Joint
from ablate.model.targets import Teacher
from ablate.model.transformer import initialise
from ablate.model.vit import ViT

GRID, PIXELS, BATCH = Grid(4, 8), 6, 5


def build(seed: int = 0, **settings: object) -> JEPA:
    encoder = ViT(dim=16, layers=2, heads=2, **settings).build(GRID, PIXELS)
    initialise(encoder, seed, "encoder")
    target = Teacher().build(encoder, GRID, PIXELS)
    predictor = Joint(dim=8, layers=2, heads=2).build(GRID, encoder.dim, target.dim)
    jepa = JEPA(encoder, predictor, target, seed)
    initialise(jepa.target.encoder, seed + 1, "encoder")  # as if trained
    return jepa


def ragged_batch() -> tuple[torch.Tensor, Mask, torch.Tensor]:
    """Patches, masks of unequal size, and clips of unequal length."""
    patches = torch.randn(BATCH, GRID.size, PIXELS, generator=generator(0, "patches"))
    columns = torch.tensor([8, 3, 8, 5, 2])
    valid = (torch.arange(GRID.time) < columns.unsqueeze(1)).unsqueeze(1)
    valid = valid.expand(-1, GRID.freq, -1).flatten(1)
    mask = maskers.MultiBlock().draw(Clips(grid=GRID, valid=valid), generator(0, "mask"))
    return patches, mask, valid


def select_sample(mask: Mask, sample: int) -> Mask:
    rows = slice(sample, sample + 1)
    return Mask(mask.context[rows], mask.targets[rows])


@pytest.mark.parametrize("objective", [SmoothL1(), L2()])
def test_a_packed_step_equals_the_loop_over_samples(objective):
    patches, mask, valid = ragged_batch()
    packed, looped = build(), build()
    loss = packed(patches, mask, valid).loss(objective)
    loss.backward()
    losses = [
        looped(patches[i : i + 1], select_sample(mask, i), valid[i : i + 1]).loss(objective)
        for i in range(BATCH)
    ]
    torch.stack(losses).mean().backward()
    assert torch.allclose(loss, torch.stack(losses).mean(), atol=1e-5)
    for (name, actual), reference in zip(
        packed.named_parameters(), looped.parameters(), strict=True
    ):
        if actual.requires_grad:
            assert torch.allclose(actual.grad, reference.grad, atol=1e-5), name


def test_perturbing_one_clip_changes_no_other_clips_output():
    patches, mask, valid = ragged_batch()
    jepa = build()
    before = jepa(patches, mask, valid)
    patches[2] += 1
    after = jepa(patches, mask, valid)
    others = before.targets.owner != 2
    assert torch.equal(before.predicted[others], after.predicted[others])
    assert torch.equal(before.target[others], after.target[others])
    assert not torch.equal(before.predicted[~others], after.predicted[~others])


def test_padding_affects_neither_encoder():
    patches, mask, valid = ragged_batch()
    jepa = build()
    before = jepa(patches, mask, valid)
    after = jepa(torch.where(valid.unsqueeze(-1), patches, 1e6), mask, valid)
    assert torch.equal(before.predicted, after.predicted)
    assert torch.equal(before.target, after.target)


def test_the_context_encoder_sees_no_hidden_patch():
    patches, mask, valid = ragged_batch()
    jepa = build()
    before = jepa(patches, mask, valid).predicted
    after = jepa(torch.where(mask.context.unsqueeze(-1), patches, 1e6), mask, valid).predicted
    assert torch.equal(before, after)


def test_no_gradient_reaches_the_target_encoder():
    patches, mask, valid = ragged_batch()
    jepa = build()
    jepa(patches, mask, valid).loss(SmoothL1()).backward()
    assert all(p.grad is None for p in jepa.target.encoder.parameters())
    assert all(p.grad is not None for p in jepa.encoder.parameters())
    assert all(p.grad is not None for p in jepa.predictor.parameters())


def test_the_target_encoder_is_the_moving_average_in_closed_form():
    jepa = build()
    start = copy.deepcopy(jepa.target.encoder.state_dict())
    for _ in range(3):
        jepa.update_target(0.9)
    for name, value in jepa.target.encoder.state_dict().items():
        source = jepa.encoder.state_dict()[name]
        assert torch.allclose(value, 0.9**3 * start[name] + (1 - 0.9**3) * source, atol=1e-6)


def test_a_momentum_near_one_still_moves_the_target_encoder():
    jepa = build()
    before = [p.clone() for p in jepa.target.encoder.parameters()]
    for _ in range(100):
        jepa.update_target(0.9999)
    after = jepa.target.encoder.parameters()
    moved = [(a - b).abs().max() for a, b in zip(before, after, strict=True)]
    assert max(moved) > 1e-4


def test_the_loss_weights_samples_equally_whatever_their_number_of_targets():
    patches, mask, valid = ragged_batch()
    prediction = build()(patches, mask, valid)
    distance = SmoothL1().distance(prediction.predicted, prediction.target, prediction.query)
    means = [distance[prediction.targets.owner == sample].mean() for sample in range(BATCH)]
    assert torch.allclose(prediction.loss(SmoothL1()), torch.stack(means).mean())


def test_models_of_one_seed_share_every_weight_of_the_same_name_and_shape():
    small = build(seed=3).state_dict()
    encoder = ViT(dim=16, layers=3, heads=2).build(Grid(1, 32), PIXELS)
    initialise(encoder, 3, "encoder")
    for name, value in encoder.state_dict().items():
        if f"encoder.{name}" in small:
            assert torch.equal(value, small[f"encoder.{name}"]), name


def test_another_seed_gives_other_weights():
    first, second = (dict(build(seed).encoder.named_parameters()) for seed in (0, 1))
    same = [name for name in first if torch.equal(first[name], second[name])]
    assert all("norm" in name or name.endswith("bias") for name in same)


def test_rng_reaches_the_context_encoder_and_not_the_target():
    patches, mask, valid = ragged_batch()
    jepa = build(drop_path=0.5)
    first, second = (
        jepa(patches, mask, valid, rng=StepRandom(seed=0, step=step)) for step in (1, 2)
    )
    assert not torch.allclose(first.predicted, second.predicted)
    assert torch.equal(first.target, second.target)
