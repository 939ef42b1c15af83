"""The fused Adam gives the bits of `torch.optim`, with missing gradients and after resuming."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ablate.training.fused_adam import FusedAdam, ParameterGroup

BETAS, EPS = (0.9, 0.95), 1e-8


def build_parameters() -> list[nn.Parameter]:
    """Two matrices and a vector of type float32, and one matrix of another type."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4), (5,), (2, 2))
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    return [nn.Parameter(value) for value in (*values, values[0].double())]


def build_ours(parameters: list[nn.Parameter], *, decoupled: bool) -> FusedAdam:
    groups = [
        ParameterGroup(parameters=parameters[:2], decays=True, rate_factor=1.0),
        ParameterGroup(parameters=parameters[2:], decays=False, rate_factor=1.0),
    ]
    return FusedAdam(groups, decoupled=decoupled, betas=BETAS, eps=EPS)


def set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    """Sets the gradients of a step; at every other step, one parameter has none."""
    generator = torch.Generator().manual_seed(step)
    for number, p in enumerate(parameters):
        gradient = torch.randn(p.shape, generator=generator).to(p.dtype)
        p.grad = None if number == step % 2 else gradient


def train_ours(adam: FusedAdam, parameters: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(parameters, step)
        for group, decay in zip(adam.groups, (0.1, 0.0), strict=True):
            group.rate, group.weight_decay = 0.01 / (1 + step), decay
        adam.step()
        adam.zero_grad()


@pytest.fixture(params=[True, False])
def expected(request: pytest.FixtureRequest) -> tuple[bool, list[nn.Parameter]]:
    parameters = build_parameters()
    kind = torch.optim.AdamW if request.param else torch.optim.Adam
    groups = [{"params": parameters[:2]}, {"params": parameters[2:]}]
    adam = kind(groups, betas=BETAS, eps=EPS, fused=True)
    for step in range(6):
        set_gradients(parameters, step)
        for group, decay in zip(adam.param_groups, (0.1, 0.0), strict=True):
            group.update(lr=0.01 / (1 + step), weight_decay=decay)
        adam.step()
    return request.param, parameters


def test_every_bit_is_that_of_torch(expected: tuple[bool, list[nn.Parameter]]) -> None:
    decoupled, theirs = expected
    ours = build_parameters()
    train_ours(build_ours(ours, decoupled=decoupled), ours, range(6))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_resumed_training_has_the_same_bits(expected: tuple[bool, list[nn.Parameter]]) -> None:
    decoupled, theirs = expected
    ours = build_parameters()
    first = build_ours(ours, decoupled=decoupled)
    train_ours(first, ours, range(3))
    second = build_ours(ours, decoupled=decoupled)
    second.load_state_dict(first.state_dict())
    train_ours(second, ours, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_no_compiler_is_loaded_to_train() -> None:
    lines = (
        "import sys, torch",
        "from torch import nn",
        "from ablate.training.optimizer import Optimizer, ScheduledAdam",
        "model = nn.Linear(2, 2)",
        "adam = ScheduledAdam(model, Optimizer(), 10)",
        "model(torch.ones(1, 2)).sum().backward()",
        "adam.step(0)",
        "sys.stdout.write(str('torch._dynamo' in sys.modules))",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stdout == "False", done.stderr
