"""Two views of a clip: which encoder sees which, and both in both roles."""

import dataclasses

import pytest
import torch

from ablate.core.random import generator
from ablate.model.objectives import Cosine
from ablate.model.vit import ViT
from ablate.training.input_scale import InputScale
from ablate.training.input_views import Gain, Mix
from ablate.training.metrics import StepCounts
from ablate.training.optimizer import Budget

from .conftest import BANDS

SCALE = InputScale(mean=torch.zeros(BANDS), std=torch.ones(BANDS))
LOUDER, SOFTER = Gain(decibels=(6, 6)), Gain(decibels=(-6, -6))
DEEP = ViT(dim=16, layers=2, heads=2, drop_path=0.5)


def change(view, batch):
    if view is None:
        return batch.mels
    return view(batch.mels, batch.valid_frames, SCALE, generator(0, "unused"))


@pytest.mark.parametrize("view", [None, LOUDER], ids=["no view", "view"])
@pytest.mark.parametrize("target_view", [None, SOFTER], ids=["no target view", "target view"])
def test_each_encoder_sees_its_own_view(new_trainer, view, target_view):
    drawer = new_trainer(view=view, target_view=target_view, input_scale=SCALE).drawer
    clips, drawn = drawer.loader.batch(3, 5), drawer.draw(3)
    seen = drawn.batch if drawn.view is None else drawn.view
    assert torch.equal(seen.mels, change(view, clips))
    assert torch.equal(drawn.batch.mels, change(target_view, clips))


def gradients(jepa):
    return {name: p.grad.clone() for name, p in jepa.named_parameters() if p.grad is not None}


def accumulate(trainer):
    """Accumulates the gradients of step 0; returns the loss, the counts and the gradients."""
    state = trainer.create_state()
    part = trainer.drawer.draw(0)
    losses, counts = trainer._accumulate(state, part, trainer.objective.num_units(part.mask))
    return losses[0], StepCounts.total([counts]), gradients(trainer.jepa)


@pytest.mark.parametrize("target_view", [None, SOFTER], ids=["clip", "target view"])
def test_both_roles_are_the_mean_of_two_steps_with_the_views_exchanged(new_trainer, target_view):
    settings = {"objective": Cosine(reduction="token"), "input_scale": SCALE}
    both = new_trainer(view=Mix(), target_view=target_view, symmetric=True, **settings)
    loss, counts, computed = accumulate(both)
    pairs = dataclasses.replace(both.drawer, symmetric=False).draw(0)
    alone = new_trainer(**settings)
    expected, losses = {}, []
    for target, seen in ((pairs.batch, pairs.view), (pairs.view, pairs.batch)):
        alone.jepa.zero_grad()
        cut = alone.drawer.patchifier.cut
        prediction = alone.jepa(cut(target.mels), pairs.mask, pairs.valid, view=cut(seen.mels))
        own = prediction.loss(alone.objective)
        own.backward()
        losses.append(own.detach())
        for name, value in gradients(alone.jepa).items():
            expected[name] = expected.get(name, 0) + value / 2
    assert abs(losses[0] - losses[1]) > 1e-3
    assert torch.allclose(loss, torch.stack(losses).mean(), atol=1e-6)
    assert computed.keys() == expected.keys()
    assert all(torch.allclose(computed[name], expected[name], atol=1e-6) for name in computed)
    assert counts.clips == 5
    assert counts.frames == int(pairs.batch.valid_frames.sum())
    assert counts.masks == 10


def test_both_roles_do_not_depend_on_how_a_batch_is_split(new_trainer):
    def train(parts):
        budget = Budget(steps=1, batch=5, accumulate=parts)
        trainer = new_trainer(
            DEEP, view=Mix(), symmetric=True, input_scale=SCALE, budget=budget, seed=1
        )
        return accumulate(trainer)

    unsplit, split = train(1), train(3)
    assert unsplit[1] == split[1]
    for name, value in unsplit[2].items():
        assert torch.allclose(value, split[2][name], atol=1e-6), name


def test_the_parts_of_a_batch_keep_both_views_of_a_clip_together(new_trainer):
    drawer = new_trainer(view=LOUDER, symmetric=True, input_scale=SCALE).drawer
    drawn = drawer.draw(0)
    assert drawn.num_clips == 5
    for part in drawn.split(3):
        assert torch.equal(part.batch.mels[::2], part.view.mels[1::2])
        assert torch.equal(part.batch.mels[1::2], part.view.mels[::2])
        assert torch.equal(part.mask.context[::2], part.mask.context[1::2])
    with pytest.raises(ValueError, match="a batch of 5 clips cannot be split into 6 parts"):
        drawn.split(6)
