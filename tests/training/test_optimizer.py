"""The optimiser: weight decay, clipping, momentum, and invalid settings."""

import pytest
import torch
from torch import nn

from ablate.training.optimizer import Budget, Optimizer, ScheduledAdamW


def test_weight_decay_applies_to_matrices_only():
    module = nn.Linear(3, 3)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    adamw = ScheduledAdamW(module, Optimizer(weight_decay=(0.5, 0.5), warmup=0.0), steps=10)
    (0 * module(torch.zeros(1, 3)).sum()).backward()
    adamw.step(0)
    assert module.weight[0, 0].item() == pytest.approx(1 - 1e-3 * 0.5)
    assert module.bias[0].item() == 1


def test_a_parameter_without_gradient_does_not_change():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(requires_grad=False)
    before = module.bias.clone()
    module(torch.ones(1, 2)).sum().backward()
    ScheduledAdamW(module, Optimizer(), steps=2).step(0)
    assert torch.equal(module.bias, before)


def test_step_returns_the_gradient_norm_before_clipping():
    module = nn.Linear(1, 1, bias=False)
    adamw = ScheduledAdamW(module, Optimizer(clip=0.5), steps=2)
    (100 * module(torch.ones(1, 1))).sum().backward()
    norm = adamw.step(0)
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
