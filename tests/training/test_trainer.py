"""Training when memory runs out, the loss diverges or the features collapse."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.attention import KernelChoice
from ablate.model.encoder import AbstractEncoder
from ablate.model.objectives import L2
from ablate.model.vit import VisionTransformer, ViT
from ablate.training.metrics import CollapsedError, DivergedError, MetricWindow
from ablate.training.online_probe import OnlineProbe, ProbeHistory
from ablate.training.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class Narrow(AbstractEncoder):
    """A ViT that runs out of memory if it trains on more than `max_tokens` at once."""

    max_tokens: int

    def build(self, grid, pixels):
        return NarrowTransformer(self.max_tokens, grid, pixels)


class NarrowTransformer(VisionTransformer):
    def __init__(self, max_tokens, grid, pixels):
        super().__init__(ViT(dim=16, layers=1, heads=2), grid, pixels)
        self.max_tokens = max_tokens

    def forward(self, patches, packing, **options):
        if torch.is_grad_enabled() and packing.segments.num_tokens > self.max_tokens:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return super().forward(patches, packing, **options)


@dataclass(frozen=True, kw_only=True)
class NaNFrom(L2):
    """Returns NaN from call number `at` on; there are two calls per step."""

    at: int
    calls: list[int]

    def distance(self, predicted, target, query):
        self.calls.append(1)
        value = super().distance(predicted, target, query)
        return value * float("nan") if len(self.calls) >= self.at else value


def weights(trainer):
    parameters = dict(trainer.jepa.named_parameters())
    return {name: value for name, value in parameters.items() if "query_key_value.bias" not in name}


def test_out_of_memory_uses_more_micro_batches_and_does_not_change_the_step(new_trainer):
    unlimited, limited = new_trainer(), new_trainer(Narrow(max_tokens=12))
    expected, result = unlimited.train(), limited.train()
    for name, value in weights(unlimited).items():
        assert torch.allclose(value, weights(limited)[name], rtol=0, atol=1e-5), name
    assert expected.warnings == []
    warnings = [text for text in result.warnings if "micro-batches per step" in text]
    assert warnings[0].startswith("out of memory at step 1 (tried to allocate 2 GiB)")
    counts = [int(text.split("): ")[1].split()[0]) for text in warnings]
    assert counts == [2, 4, 5][: len(warnings)]
    assert expected.cost.context_tokens == result.cost.context_tokens
    assert result.last.position_loss == pytest.approx(expected.last.position_loss, rel=1e-5)


def test_training_fails_if_a_single_clip_does_not_fit_into_memory(new_trainer):
    with pytest.raises(torch.OutOfMemoryError):
        new_trainer(Narrow(max_tokens=1)).train()


def test_a_batch_is_not_split_if_the_objective_couples_its_clips(new_trainer):
    class Coupled(L2):
        coupled = True

    with pytest.raises(torch.OutOfMemoryError):
        new_trainer(Narrow(max_tokens=12), objective=Coupled()).train()


def test_divergence_names_step_clips_and_last_good_checkpoint(new_trainer):
    trainer = new_trainer(objective=NaNFrom(at=13, calls=[]))
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    line, *details = str(caught.value).splitlines()
    paths = trainer.drawer.loader.paths(6, 5)
    assert line.startswith("the loss is not finite at step 7")
    assert f"{', '.join(paths[:3])} and 2 more" in line
    newest = trainer.checkpoints.newest_step
    assert 1 <= newest <= 6
    assert f"last good checkpoint: step {newest}" in line
    assert details[1:] == paths
    saved, warnings = trainer.checkpoints.load()
    assert warnings == []
    assert saved["cost"]["steps"] == newest
    assert all(value.isfinite().all() for value in saved["jepa"].values())


@given(st.integers(1, 9), st.integers(0, 9), st.data())
def test_the_window_finds_the_first_step_that_is_not_finite(steps, before, data):
    bad = data.draw(st.sets(st.integers(0, steps - 1)))
    window = MetricWindow()
    for step in range(steps):
        loss = torch.tensor(float("inf") if step in bad else 1.0)
        window.add(torch.stack([loss, loss]), torch.tensor(1.0))
    expected = (before + min(bad) + 1, "loss") if bad else None
    assert window.find_not_finite(before + steps) == expected


class InfiniteGradient(L2):
    """A finite loss with an infinite gradient."""

    def distance(self, predicted, target, query):
        value = super().distance(predicted, target, query)
        return value + (predicted - predicted.detach()).sum(dim=-1).sqrt()


def test_an_infinite_gradient_is_reported_as_a_gradient_and_not_as_a_loss(new_trainer):
    with pytest.raises(DivergedError, match=r"^the gradient norm is not finite at step 1;"):
        new_trainer(objective=InfiniteGradient()).train()


def test_a_collapse_warns_or_stops_as_configured(new_trainer):
    unstable = Optimizer(rate=0.3, warmup=0.0, momentum=(0.0, 0.0), clip=0.0)
    warnings = new_trainer(optimizer=unstable).train().warnings
    assert [warning.split(":")[0] for warning in warnings] == ["collapsed"]
    with pytest.raises(CollapsedError, match=r"effective rank .* at step 12, .* before training"):
        new_trainer(optimizer=unstable, on_collapse="stop").train()


def probe_with_scores(scores):
    """Returns an online probe that reports these scores one after another."""
    remaining = iter(scores)
    return OnlineProbe(every=4, num_clips=300, evaluate=lambda encoder: {"speech": next(remaining)})


@pytest.mark.parametrize("on_collapse", ["warn", "stop"])
def test_a_score_below_the_initial_one_warns_and_does_not_stop(new_trainer, on_collapse):
    probe, results = probe_with_scores([60.0, 58.0, 40.0, 39.0]), []
    trained = new_trainer(online_probe=probe, on_collapse=on_collapse).train(
        on_metrics=lambda metrics, result: results.append((result.step, result.score))
    )
    assert trained.warnings == ["collapsed: online score 40.0 at step 8, 60.0 before training"]
    assert trained.collapsed
    assert results == [(0, 60.0), (4, 58.0), (8, 40.0), (12, 39.0)]


def test_a_training_that_recovers_has_not_collapsed(new_trainer):
    result = new_trainer(online_probe=probe_with_scores([60.0, 40.0, 60.0, 70.0])).train()
    assert len(result.warnings) == 1
    assert not result.collapsed


@given(st.floats(1, 99), st.floats(0, 100), st.integers(1, 1000))
def test_a_score_has_fallen_if_it_is_two_standard_errors_lower(first, last, num_clips):
    probe = OnlineProbe(every=1, num_clips=num_clips, evaluate=lambda encoder: {})
    share = first / 100
    error = 100 * (share * (1 - share) / num_clips) ** 0.5
    assert probe.has_fallen(ProbeHistory(first, last)) == (first - last > 2 * error)
    assert not probe.has_fallen(ProbeHistory(None, last))


def test_a_batch_depends_only_on_its_step(new_trainer):
    first, second = new_trainer(), new_trainer()
    second.drawer.draw(3)
    assert torch.equal(first.drawer.draw(7).batch.mels, second.drawer.draw(7).batch.mels)
    assert torch.equal(first.drawer.draw(7).mask.context, second.drawer.draw(7).mask.context)


@pytest.mark.parametrize(
    ("batching", "kernels"), [("pack", ["segments"]), ("pad", ["segments", "padded with a mask"])]
)
def test_a_training_returns_the_attention_kernels_that_served(new_trainer, batching, kernels):
    assert sorted(new_trainer(batching=batching).train().attention) == sorted(kernels)


def test_a_kernel_slower_than_xformers_is_recorded_and_warned_of_once(new_trainer, caplog):
    slow = KernelChoice("padded", "", {"xformers": "no CUDA support", "varlen": "fp32"})
    state = new_trainer().create_state()
    for _ in range(2):
        state.record_attention({slow.name: slow})
    [warning] = state.warnings
    assert "xformers: no CUDA support" in warning
    assert caplog.messages == [warning]
    resumed = new_trainer().create_state(state.state_dict())
    resumed.record_attention({slow.name: slow})
    assert (resumed.attention, resumed.warnings) == (["padded"], [warning])
