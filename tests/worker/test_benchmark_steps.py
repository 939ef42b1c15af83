"""Training steps are timed beside a plain model that does the same work."""

import copy

import pytest
import torch

from ablate.core.records.benchmarks import NamedTrial, StepTimingsRequest
from ablate.parts import build
from ablate.worker.benchmarks.plain_jepa import PlainJEPA, PlainStep, Sizes
from ablate.worker.benchmarks.steps import PLAIN, time_steps
from ablate.worker.trial import Trial


@pytest.fixture
def variants(settings):
    def variant(name, **changes):
        return NamedTrial(name=name, settings={**copy.deepcopy(settings), **changes})

    in_seconds = {**settings["patchifier"], "seconds": 0.16}
    in_seconds.pop("time")
    return (
        variant("blocks"),
        variant("padded", batching="pad", patchifier=in_seconds),
        variant("random", masker={"type": "maskers.Random", "ratio": 0.5}),
        variant("wrong", masker={"type": "maskers.Random", "ratio": 2.0}),
    )


def test_every_variant_is_timed_and_the_plain_model_has_as_many_visible_patches(variants):
    events = []
    request = StepTimingsRequest(variants=variants, device="cpu", seconds=0.0)
    reply = time_steps(request, events.append)
    steps = {step.name: step for step in reply.steps}
    assert list(steps) == ["blocks", "padded", "random", PLAIN, "wrong"]
    assert "must lie in [0, 1]" in steps.pop("wrong").problem
    assert steps[PLAIN].compared_with == "random"
    for name in ("context", "targets", "flops"):
        assert getattr(steps[PLAIN], name) == getattr(steps["random"], name)
    assert steps["random"].context == steps["random"].targets == 4
    assert steps["padded"].flops > steps["blocks"].flops
    for step in steps.values():
        seconds = step.milliseconds / 1000
        assert step.clips_per_second == pytest.approx(4 / seconds)
        tokens = 4 * (step.context + step.targets)
        assert step.tokens_per_second == pytest.approx(tokens / seconds)
        assert step.audio_hours_per_hour == pytest.approx(4 * 0.64 / seconds)
        ceiling = 1e12 * reply.ceiling_tflops["fp32"]
        assert step.utilisation == pytest.approx(step.flops / seconds / ceiling)
        assert step.peak_memory_mb is None
    assert {kernel.name for kernel in reply.kernels} >= {"segments", "padded"}
    assert all(kernel.milliseconds > 0 for kernel in reply.kernels)


def test_the_plain_model_has_the_weights_of_the_trial_that_it_is_compared_with(settings):
    trial = build(settings, expect=Trial)
    jepa = trial.build_jepa()
    sizes = [
        Sizes(part.dim, part.layers, part.heads, 4.0) for part in (trial.encoder, trial.predictor)
    ]
    plain = PlainJEPA(8, trial.patchifier.pixels, 4, 4, *sizes)
    count = [sum(p.numel() for p in module.parameters()) for module in (jepa, plain)]
    assert count[0] == count[1]


def test_the_plain_model_learns():
    torch.manual_seed(0)
    patches = torch.randn(8, 8, 6)
    sizes = Sizes(16, 1, 2, 4.0)
    jepa = PlainJEPA(8, 6, 4, 4, sizes, sizes)
    step = PlainStep(jepa, "fp32")
    with torch.no_grad():
        before = float(sum(jepa(patches) for _ in range(5)))
    for _ in range(40):
        step(patches)
    with torch.no_grad():
        assert float(sum(jepa(patches) for _ in range(5))) < before
