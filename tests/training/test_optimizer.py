"""The optimiser's groups and its refusals."""

import pytest
import torch
from torch import nn

from ablate.training.optimizer import Budget, Optimizer, ScheduledAdamW


def test_weight_decay_touches_matrices_only():
    module = nn.Linear(3, 3)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    adamw = ScheduledAdamW(module, Optimizer(weight_decay=(0.5, 0.5), warmup=0.0), steps=10)
    (0 * module(torch.zeros(1, 3)).sum()).backward()
    adamw.step(0)
    assert module.weight[0, 0].item() == pytest.approx(1 - 1e-3 * 0.5)
    assert module.bias[0].item() == 1


def test_a_parameter_that_wants_no_gradient_is_left_alone():
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(requires_grad=False)
    before = module.bias.clone()
    module(torch.ones(1, 2)).sum().backward()
    ScheduledAdamW(module, Optimizer(), steps=2).step(0)
    assert torch.equal(module.bias, before)


def test_gradients_are_clipped_to_the_norm_and_the_norm_before_is_returned():
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
def test_impossible_settings_are_refused_with_their_value(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)


def test_a_budget_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="`steps` must be at least 1; got 0"):
        Budget(steps=0, batch=16)


def test_a_batch_is_not_cut_into_more_parts_than_it_has_clips():
    with pytest.raises(ValueError, match="`accumulate` 5 cuts a batch of 4 clips"):
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
    found = [Optimizer(momentum=(0.9, 1.0), **settings).momentum_at(step, 5) for step in range(5)]
    assert found == pytest.approx([0.9 + 0.1 * share for share in shares])


def test_a_constant_momentum_stands_still():
    constant = Optimizer(momentum=(0.99, 0.99), momentum_schedule="constant")
    assert {constant.momentum_at(step, 9) for step in range(9)} == {0.99}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"momentum_schedule": "constant"}, "one value, written twice"),
        ({"momentum_horizon": 0.0}, "`momentum_horizon`"),
    ],
)
def test_an_impossible_momentum_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Optimizer(**settings)
