"""What maskers read of a model equals what each clip gives by itself, and survives a stop."""

from dataclasses import dataclass, field

import pytest
import torch

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.attention_maps import average_attention
from ablate.model.class_head import ClassHead
from ablate.model.class_objective import DistanceAndClasses
from ablate.model.class_target import Classes
from ablate.model.mask_sampling import choose
from ablate.model.masking import Mask
from ablate.model.objectives import L2
from ablate.model.packing import pack
from ablate.model.positions import Rotary2D
from ablate.model.predictor import Joint
from ablate.model.segments import Segments
from ablate.model.vit import ViT
from ablate.training.checkpoint import Checkpoints
from ablate.training.mask_content import compute_model_content
from ablate.training.optimizer import Optimizer
from ablate.training.schedules import ramp
from ablate.training.signals import PausedError

ENCODERS = {
    "plain": ViT(dim=16, layers=2, heads=2, positions=Rotary2D()),
    "summary": ViT(dim=16, layers=1, heads=2, summary=True, registers=1),
    "post-norm": ViT(dim=16, layers=1, heads=2, norm="post"),
}


def draw_clips(trainer):
    patches, valid = trainer.drawer.load_patches(0)
    return patches[:5], valid[:5]


@pytest.mark.parametrize("name", ENCODERS)
def test_attention_equals_the_definition_for_each_clip(new_trainer, name):
    jepa = (trainer := new_trainer(ENCODERS[name])).jepa
    patches, valid = draw_clips(trainer)
    rng = StepRandom(0, step=3)
    received = compute_model_content("attention", jepa, L2(), patches, valid, rng)
    encoder = jepa.probed_encoder
    layer = encoder.transformer.layers[-1]
    for clip, row in enumerate(valid):
        inputs = []
        hook = layer.register_forward_pre_hook(lambda _, args: inputs.append(args))  # noqa: B023
        encoder(patches[clip : clip + 1], pack(row.unsqueeze(0)))
        hook.remove()
        tokens, attention = inputs[0][:2]
        normed = tokens if layer.norm == "post" else layer.norm_attention(tokens)
        query, key, _ = layer.query_key_value(normed).view(len(tokens), 3, 2, 8).unbind(1)
        if attention.rotation is not None:
            query, key = attention.rotation(query), attention.rotation(key)
        weights = torch.einsum("qhd,khd->hqk", query, key).div(8**0.5).softmax(-1).mean(0)
        mean = weights[0] if name == "summary" else weights.mean(dim=0)
        expected = torch.zeros(len(row))
        expected[row] = mean[-int(row.sum()) :]
        assert torch.allclose(received[clip, :, 0], expected, atol=1e-6)


def test_losses_equal_those_of_each_clip_whose_halves_predict_each_other(new_trainer):
    trainer = new_trainer()
    patches, valid = draw_clips(trainer)
    rng = StepRandom(0, step=3)
    losses = compute_model_content("loss", trainer.jepa, L2(), patches, valid, rng)[..., 0]
    halves = choose(valid.sum(dim=1) // 2, among=valid, generator=generator(0, "halves", 3))
    for clip, (first, row) in enumerate(zip(halves, valid, strict=True)):
        expected = torch.zeros(len(row))
        for context in (first, row & ~first):
            target = row & ~context
            mask = Mask(context.unsqueeze(0), target.view(1, 1, -1))
            one = trainer.jepa(patches[clip : clip + 1], mask, row.unsqueeze(0))
            expected[target] = (one.predicted - one.target).square().mean(dim=1).detach()
        assert torch.allclose(losses[clip], expected, atol=1e-5)
        assert (losses[clip][row] > 0).all()


def test_measuring_losses_leaves_no_trace_in_the_target(new_trainer):
    predictor = ClassHead(predictor=Joint(dim=16, layers=1, heads=2), hidden=8, bottleneck=4)
    trainer = new_trainer(target=Classes(classes=5), predictor=predictor)
    patches, valid = draw_clips(trainer)
    objective, rng = DistanceAndClasses(classes=5), StepRandom(0, step=3)
    assert (compute_model_content("loss", trainer.jepa, objective, patches, valid, rng) > 0).any()
    assert not trainer.jepa.target.sums.any()


def test_losses_are_those_at_the_progress_of_the_step(new_trainer):
    target = Classes(classes=5, temperature=(0.01, 1.0), warmup=1.0)
    predictor = ClassHead(predictor=Joint(dim=16, layers=1, heads=2), hidden=8, bottleneck=4)
    objective = DistanceAndClasses(classes=5)
    parts = {"target": target, "predictor": predictor, "objective": objective}
    drawer = new_trainer(**parts, masker=GUIDED["loss"]).drawer
    batch = drawer.loader.batch(6, 5)
    valid = drawer.patchifier.valid(batch.valid_frames, batch.bands)
    content = drawer.compute_content(batch, valid, step=6)
    inputs = (drawer.jepa, objective, drawer.cut(batch), valid, StepRandom(0, step=6))
    halfway = ramp(6, 12)
    assert torch.equal(content, compute_model_content("loss", *inputs, halfway))
    assert not torch.equal(content, compute_model_content("loss", *inputs, 0.0))


def test_a_patch_without_others_in_its_clip_has_no_loss_and_changes_no_other(new_trainer):
    trainer = new_trainer()
    patches, valid = draw_clips(trainer)
    rng = StepRandom(0, step=3)
    before = compute_model_content("loss", trainer.jepa, L2(), patches, valid, rng)
    valid[2] = torch.arange(valid.shape[1]) == 3
    losses = compute_model_content("loss", trainer.jepa, L2(), patches, valid, rng)
    assert not losses[2].any()
    others = [0, 1, 3, 4]
    assert torch.allclose(losses[others], before[others], atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class ProductObjective(L2):
    """Multiplies matrices, as `InfoNCE` does, and records the number format of the product."""

    formats: list[torch.dtype] = field(default_factory=list)

    def distance(self, predicted, target, query):
        self.formats.append((predicted @ target.T).dtype)
        return super().distance(predicted, target, query)


def test_attention_and_losses_for_masks_are_compared_in_float32_under_autocast(new_trainer):
    trainer, objective = new_trainer(), ProductObjective()
    patches, valid = draw_clips(trainer)
    query, key = torch.randn(2, 8, 2, 4, generator=generator(0, "parts"))
    expected = average_attention(query, key, Segments((3, 5)), from_first=False)
    with torch.autocast("cpu", torch.bfloat16):
        received = average_attention(query, key, Segments((3, 5)), from_first=False)
        rng = StepRandom(0, step=3)
        compute_model_content("loss", trainer.jepa, objective, patches, valid, rng)
    assert torch.equal(received, expected)
    assert objective.formats == [torch.float32] * 2


GUIDED = {
    "attention": maskers.AttentionGuided(hide="high"),
    "loss": maskers.HardPatches(hard=(1.0, 1.0)),
}


@pytest.mark.parametrize("masker", GUIDED.values(), ids=GUIDED)
def test_a_training_guided_by_the_model_resumes_with_the_same_masks(new_trainer, masker, tmp_path):
    settings = {"masker": masker, "optimizer": Optimizer(rate=0.05, momentum=(0.5, 0.5))}
    unbroken, contexts = new_trainer(**settings, prefetch=True), []
    unbroken.train(on_masks=lambda step, batch: contexts.append(batch.mask.context))
    checkpoints = Checkpoints(tmp_path / "paused")
    with pytest.raises(PausedError):
        new_trainer(**settings, pause_step=5, checkpoints=checkpoints).train()
    resumed, again = new_trainer(**settings, checkpoints=checkpoints), []
    saved, _ = checkpoints.load()
    resumed.train(saved, on_masks=lambda step, batch: again.append(batch.mask.context))
    assert torch.equal(contexts[-1], again[-1])
    pairs = zip(unbroken.jepa.parameters(), resumed.jepa.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    first = new_trainer(**settings).drawer.draw(11).mask.context
    assert not torch.equal(first, contexts[-1])  # the weights of the step decide
