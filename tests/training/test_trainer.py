"""What a training does when memory, or its numbers, run out."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.encoder import AbstractEncoder
from ablate.model.objectives import L2
from ablate.model.vit import VisionTransformer, ViT
from ablate.training.metrics import CollapsedError, DivergedError, Window
from ablate.training.online_probe import Course, Online
from ablate.training.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class Narrow(AbstractEncoder):
    """A ViT on a device that learns from so many tokens at once, and no more."""

    room: int

    def build(self, grid, pixels):
        return NarrowTransformer(self.room, grid, pixels)


class NarrowTransformer(VisionTransformer):
    def __init__(self, room, grid, pixels):
        super().__init__(ViT(dim=16, layers=1, heads=2), grid, pixels)
        self.room = room

    def forward(self, patches, packing, **given):
        if torch.is_grad_enabled() and packing.segments.total > self.room:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return super().forward(patches, packing, **given)


@dataclass(frozen=True, kw_only=True)
class Breaks(L2):
    """Gives no number from the given call on; it is called twice a step."""

    at: int
    calls: list[int]

    def distance(self, predicted, target, question):
        self.calls.append(1)
        value = super().distance(predicted, target, question)
        return value * float("nan") if len(self.calls) >= self.at else value


def weights(trainer):
    found = dict(trainer.jepa.named_parameters())
    return {name: value for name, value in found.items() if "query_key_value.bias" not in name}


def test_where_memory_runs_out_a_step_is_cut_and_stays_the_same_step(new_trainer):
    whole, cut = new_trainer(), new_trainer(Narrow(room=12))
    plain, saving = whole.train(), cut.train()
    for name, value in weights(whole).items():
        assert torch.allclose(value, weights(cut)[name], rtol=0, atol=1e-5), name
    assert plain.warnings == []
    told = [warning for warning in saving.warnings if "a step is cut into" in warning]
    assert told[0].startswith("out of memory at step 1 (tried to allocate 2 GiB)")
    assert [int(line.split("cut into ")[1].split()[0]) for line in told] == [2, 4, 5][: len(told)]
    assert plain.cost.context_tokens == saving.cost.context_tokens
    assert saving.last.position_loss == pytest.approx(plain.last.position_loss, rel=1e-5)


def test_where_one_clip_is_too_much_the_trial_ends(new_trainer):
    with pytest.raises(torch.OutOfMemoryError):
        new_trainer(Narrow(room=1)).train()


def test_a_loss_that_must_see_its_batch_whole_is_not_cut(new_trainer):
    class Coupled(L2):
        coupled = True

    with pytest.raises(torch.OutOfMemoryError):
        new_trainer(Narrow(room=12), objective=Coupled()).train()


def test_what_diverges_names_its_step_its_clips_and_the_last_good_checkpoint(new_trainer):
    trainer = new_trainer(objective=Breaks(at=13, calls=[]))
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    line, *details = str(caught.value).splitlines()
    paths = trainer.loader.paths(6, 5)
    assert line.startswith("the loss is not finite at step 7")
    assert f"{', '.join(paths[:3])} and 2 more" in line
    newest = trainer.checkpoints.newest
    assert 1 <= newest <= 6
    assert f"last good checkpoint: step {newest}" in line
    assert details[1:] == paths
    saved, warnings = trainer.checkpoints.load()
    assert warnings == []
    assert saved["cost"]["steps"] == newest
    assert all(value.isfinite().all() for value in saved["jepa"].values())


@given(st.integers(1, 9), st.integers(0, 9), st.data())
def test_the_first_step_that_is_no_number_is_found(steps, before, data):
    bad = data.draw(st.sets(st.integers(0, steps - 1)))
    window = Window()
    for step in range(steps):
        loss = torch.tensor(float("inf") if step in bad else 1.0)
        window.add(torch.stack([loss, loss]), torch.tensor(1.0))
    expected = (before + min(bad) + 1, "loss") if bad else None
    assert window.not_finite(before + steps) == expected


class Steep(L2):
    """A finite loss whose gradient is not."""

    def distance(self, predicted, target, question):
        value = super().distance(predicted, target, question)
        return value + (predicted - predicted.detach()).sum(dim=-1).sqrt()


def test_a_gradient_that_is_not_finite_is_not_said_to_be_a_loss(new_trainer):
    with pytest.raises(DivergedError, match=r"^the gradient norm is not finite at step 1;"):
        new_trainer(objective=Steep()).train()


def test_a_collapse_is_a_warning_or_the_end_as_the_trial_asks(new_trainer):
    wild = Optimizer(rate=0.3, warmup=0.0, momentum=(0.0, 0.0), clip=0.0)
    told = new_trainer(optimizer=wild).train().warnings
    assert [warning.split(":")[0] for warning in told] == ["collapsed"]
    with pytest.raises(CollapsedError, match=r"effective rank .* at step 12, .* before training"):
        new_trainer(optimizer=wild, on_collapse="stop").train()


def falling(scores):
    """An online probe that finds one score after the other."""
    found = iter(scores)
    return Online(every=4, asked=300, examine=lambda encoder: {"speech": next(found)})


@pytest.mark.parametrize("on_collapse", ["warn", "stop"])
def test_a_probe_below_the_twins_is_a_warning_and_ends_nothing(new_trainer, on_collapse):
    heard = []
    told = new_trainer(online=falling([60.0, 58.0, 40.0, 39.0]), on_collapse=on_collapse).train(
        on_log=lambda log, standing: heard.append((standing.step, standing.score))
    )
    assert told.warnings == ["collapsed: online score 40.0 at step 8, 60.0 before training"]
    assert told.collapsed
    assert heard == [(0, 60.0), (4, 58.0), (8, 40.0), (12, 39.0)]


def test_a_training_that_recovers_has_not_collapsed(new_trainer):
    told = new_trainer(online=falling([60.0, 40.0, 60.0, 70.0])).train()
    assert len(told.warnings) == 1
    assert not told.collapsed


@given(st.floats(1, 99), st.floats(0, 100), st.integers(1, 1000))
def test_no_score_within_luck_of_the_first_is_a_fall(first, last, asked):
    online = Online(every=1, asked=asked, examine=lambda encoder: {})
    share = first / 100
    luck = 100 * (share * (1 - share) / asked) ** 0.5
    fell = online.fell(Course(first, last))
    assert fell == (first - last > 2 * luck)
    assert not online.fell(Course(None, last))


def test_what_a_step_sees_depends_on_its_number_alone(new_trainer):
    first, second = new_trainer(), new_trainer()
    second.draw(3)
    assert torch.equal(first.draw(7).batch.mels, second.draw(7).batch.mels)
    assert torch.equal(first.draw(7).mask.context, second.draw(7).mask.context)
