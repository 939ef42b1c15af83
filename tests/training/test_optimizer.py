"""The optimiser: weight decay, clipping, momentum, and invalid settings."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ablate.model.conformer import Conformer
from ablate.model.masking import Grid
from ablate.model.vit import ViT
from ablate.training.optimizer import Budget, Optimizer, ScheduledAdam


def test_weight_decay_applies_to_matrices_only():
    module = nn.Linear(3, 3)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    adam = ScheduledAdam(module, Optimizer(weight_decay=(0.5, 0.5), warmup=0.0), steps=10)
    (0 * module(torch.zeros(1, 3)).sum()).backward()
    adam.step(0)
    assert module.weight[0, 0].item() == pytest.approx(1 - 1e-3 * 0.5)
    assert module.bias[0].item() == 1


def test_a_parameter_without_gradient_does_not_change():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(requires_grad=False)
    before = module.bias.clone()
    module(torch.ones(1, 2)).sum().backward()
    ScheduledAdam(module, Optimizer(), steps=2).step(0)
    assert torch.equal(module.bias, before)


def test_step_returns_the_gradient_norm_before_clipping():
    module = nn.Linear(1, 1, bias=False)
    adam = ScheduledAdam(module, Optimizer(clip=0.5), steps=2)
    (100 * module(torch.ones(1, 1))).sum().backward()
    norm = adam.step(0)
    assert norm.item() == pytest.approx(100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup": 1.5}, "`warmup` must lie in"),
        ({"momentum": (1.0, 0.9)}, "`momentum` must lie in"),
        ({"rate": -1.0}, "`rate` must not be negative; got -1.0"),
        ({"betas": (0.9, 1.0)}, "`betas` must lie in"),
    ],
)
def test_invalid_settings_raise_with_their_value(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)


def test_a_budget_without_steps_raises():
    with pytest.raises(ValueError, match="`steps` must be at least 1; got 0"):
        Budget(steps=0, batch=16)


def test_more_micro_batches_than_clips_raise():
    with pytest.raises(
        ValueError, match="`accumulate` must be at most `batch`; got 5 micro-batches of 4 clips"
    ):
        Budget(steps=1, batch=4, accumulate=5)


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"momentum_schedule": "cosine"}, [0.0, (1 - 0.5**0.5) / 2, 0.5, (1 + 0.5**0.5) / 2, 1.0]),
        ({"momentum_horizon": 0.5}, [0.0, 0.5, 1.0, 1.0, 1.0]),
        ({"momentum_horizon": 2.0}, [0.0, 0.125, 0.25, 0.375, 0.5]),
    ],
)
def test_the_momentum_moves_from_its_first_value_to_its_last(settings, shares):
    momentum = [
        Optimizer(momentum=(0.9, 1.0), **settings).momentum_at(step, 5) for step in range(5)
    ]
    assert momentum == pytest.approx([0.9 + 0.1 * share for share in shares])


def test_a_constant_momentum_does_not_change():
    constant = Optimizer(momentum=(0.99, 0.99), momentum_schedule="constant")
    assert {constant.momentum_at(step, 9) for step in range(9)} == {0.99}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum_schedule": "constant"}, "the same value twice"),
        ({"momentum_horizon": 0.0}, "`momentum_horizon`"),
    ],
)
def test_an_invalid_momentum_raises(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)


def test_the_defaults_are_the_schedule_and_groups_of_version_0_1():
    module = nn.Linear(3, 3)
    adam = ScheduledAdam(module, Optimizer(), steps=100)
    rates = [adam.rate_at(step) for step in (0, 4, 9, 10, 55, 99)]
    cosine = [1e-3 * (1 + math.cos(math.pi * (step - 10) / 89)) / 2 for step in (10, 55, 99)]
    assert rates == [1e-3 * n / 10 for n in (1, 5, 10)] + cosine
    assert [len(group.parameters) for group in adam.groups] == [1, 1]


# rates, decays and momenta of the schedulers of I-JEPA (src/utils/schedulers.py at 52c1ae9) and
# V-JEPA (at 51c59d5), computed by hand from their definitions at the first and last step
@pytest.mark.parametrize(
    ("settings", "steps", "first", "last"),
    [
        (
            {"rate": 6.25e-4, "warmup": 12_000 / 90_000, "warmup_from": 0.32, "decay_to": 0.0016}
            | {"horizon": 1.25, "weight_decay": (0.04, 0.4), "weight_decay_schedule": "cosine"},
            90_000,
            (2e-4, 0.04),
            (7.5e-5, 0.366),
        ),
        (
            {"rate": 1e-3, "warmup": 40 / 300, "warmup_from": 0.2, "decay_to": 1e-3}
            | {"weight_decay": (0.04, 0.4), "weight_decay_schedule": "cosine"},
            187_500,
            (2e-4, 0.04),
            (1e-6, 0.4),
        ),
        (
            {"rate": 3e-4, "warmup": 0.03, "decay_to": 0.1, "weight_decay": (0.01, 0.01)},
            1_500_000,
            (0.0, 0.01),
            (3e-5, 0.01),
        ),
    ],
)
def test_schedules_start_and_end_as_in_published_code(settings, steps, first, last):
    optimizer = Optimizer(**settings)
    for step, expected in ((0, first), (steps - 1, last)):
        rate, decay = optimizer.rate_at(step, steps), optimizer.weight_decay_at(step, steps)
        assert (rate, decay) == pytest.approx(expected, rel=2e-2, abs=1e-7)


def test_a_linear_decay_falls_by_equal_amounts():
    optimizer = Optimizer(rate=1.0, warmup=0.0, decay="linear", decay_to=0.5)
    assert [optimizer.rate_at(step, 6) for step in range(6)] == pytest.approx(
        [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    )


def test_a_constant_decay_keeps_the_peak_after_the_warm_up():
    optimizer = Optimizer(rate=1.0, warmup=0.5, decay="constant")
    assert [optimizer.rate_at(step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


@given(
    st.integers(1, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.1, 4),
    st.sampled_from(["cosine", "linear"]),
)
def test_rates_stay_between_the_floor_and_the_peak(steps, warmup, start, end, horizon, decay):
    optimizer = Optimizer(
        rate=1.0, warmup=warmup, warmup_from=start, decay_to=end, horizon=horizon, decay=decay
    )
    rates = [optimizer.rate_at(step, steps) for step in range(steps)]
    assert all(min(start, end) - 1e-12 <= rate <= 1 + 1e-12 for rate in rates)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_each_kind_takes_the_step_of_its_definition(kind):
    weight = torch.full((1, 1), 2.0)
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.copy_(weight)
    settings = {"rate": 0.1, "warmup": 0.0, "eps": 0.5, "weight_decay": (0.5, 0.5), "clip": 0}
    adam = ScheduledAdam(module, Optimizer(kind=kind, **settings), steps=10)
    (3 * module(torch.ones(1, 1))).sum().backward()
    adam.step(0)
    gradient = 3 + (0.5 * 2.0 if kind == "adam" else 0.0)
    expected = 2.0 * (1 - 0.1 * 0.5 * (kind == "adamw")) - 0.1 * gradient / (gradient + 0.5)
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_vectors_decay_only_with_decay_vectors():
    for decay_vectors, expected in ((False, 1.0), (True, 1 - 1e-3 * 0.5)):
        module = nn.Linear(3, 3)
        nn.init.ones_(module.bias)
        settings = Optimizer(weight_decay=(0.5, 0.5), warmup=0.0, decay_vectors=decay_vectors)
        adam = ScheduledAdam(module, settings, steps=10)
        (0 * module(torch.zeros(1, 3)).sum()).backward()
        adam.step(0)
        assert module.bias[0].item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "encoder",
    [ViT(dim=8, layers=3, heads=2, registers=1), Conformer(dim=8, layers=3, heads=2, kernel=3)],
)
def test_layer_decay_lowers_the_rate_from_layer_to_layer(encoder):
    module = nn.ModuleDict({"encoder": encoder.build(Grid(2, 4), 6), "predictor": nn.Linear(8, 8)})
    adam = ScheduledAdam(module, Optimizer(layer_decay=0.5), steps=10)
    factors = {id(p): group.rate_factor for group in adam.groups for p in group.parameters}
    assert len(factors) == len(list(module.parameters()))
    by_name = {name: factors[id(p)] for name, p in module.named_parameters()}
    assert {f for n, f in by_name.items() if n.startswith("predictor")} == {1.0}
    assert {f for n, f in by_name.items() if n.startswith("encoder.project")} == {0.5**4}
    for layer in range(3):
        rates = {f for n, f in by_name.items() if f"layers.{layer}." in n}
        assert rates == {0.5 ** (3 - layer)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warmup_from": 1.5}, "`warmup_from` must lie in"),
        ({"decay_to": -0.1}, "`decay_to` must lie in"),
        ({"decay": "constant", "decay_to": 0.1}, "leave out `decay_to`, which is 0.1"),
        ({"horizon": 0.0}, "`horizon` must be above 0; got 0.0"),
        ({"eps": -1.0}, "`eps` must be above 0; got -1.0"),
        ({"layer_decay": 1.5}, "`layer_decay` must be at most 1; got 1.5"),
    ],
)
def test_invalid_schedules_raise_with_their_value(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)
