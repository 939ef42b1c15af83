"""Adam and AdamW as one fused call, with the bits of `torch.optim` (`fused=True`).

`torch.optim` imports torch's compiler when the first optimiser is built, 1.6 CPU seconds per
process, and goes through every parameter in Python at each step.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
https://arxiv.org/abs/1711.05101
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

STATE = ("step", "exp_avg", "exp_avg_sq")  # names of a parameter's state, as in `torch.optim`


@dataclass(kw_only=True)
class ParameterGroup:
    """Parameters that share a rate and a weight decay, which may change from step to step."""

    parameters: Sequence[nn.Parameter]
    decays: bool  # whether weight decay applies
    rate_factor: float  # multiplies the scheduled rate
    rate: float = 0.0
    weight_decay: float = 0.0
    # step and moving averages of each parameter that has had a gradient, by its place
    states: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)


class FusedAdam:
    """Adam on groups of parameters.

    Args:
        groups: Groups of parameters.
        decoupled: Whether weight decay is decoupled from the gradient (AdamW).
        betas: Decays of the two moving averages.
        eps: Added to the root of the second one.
    """

    def __init__(
        self,
        groups: Iterable[ParameterGroup],
        *,
        decoupled: bool,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self.groups = list(groups)
        self._update = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._betas, self._eps = betas, eps

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter that has a gradient."""
        for group in self.groups:
            used = [i for i, p in enumerate(group.parameters) if p.grad is not None]
            for i in used:
                if i not in group.states:
                    group.states[i] = _create_state(group.parameters[i])
            for chosen in _split_by_dtype(group.parameters, used):
                self._update_parameters(group, chosen)

    def _update_parameters(self, group: ParameterGroup, chosen: Sequence[int]) -> None:
        parameters: list[Tensor] = [group.parameters[i] for i in chosen]
        gradients = [p.grad for p in parameters if p.grad is not None]
        steps, averages, squares = (
            [group.states[i][place] for i in chosen] for place in range(len(STATE))
        )
        torch._foreach_add_(steps, 1)
        self._update(
            parameters,
            gradients,
            averages,
            squares,
            [],
            steps,
            lr=group.rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=group.weight_decay,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Clears the gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of each parameter that has one, by its number over all groups."""
        state, first = {}, 0
        for group in self.groups:
            for i, values in sorted(group.states.items()):
                state[first + i] = dict(zip(STATE, values, strict=True))
            first += len(group.parameters)
        return {"state": state}

    def load_state_dict(self, content: Mapping[str, Any]) -> None:
        """Restores a saved state, also one that `torch.optim` saved."""
        first = 0
        for group in self.groups:
            group.states = {
                i: _load_state(parameter, content["state"][first + i])
                for i, parameter in enumerate(group.parameters)
                if first + i in content["state"]
            }
            first += len(group.parameters)


def _create_state(parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
    average, square = (
        torch.zeros_like(parameter, memory_format=torch.preserve_format) for _ in range(2)
    )
    return torch.zeros((), dtype=torch.float32, device=parameter.device), average, square


def _load_state(
    parameter: nn.Parameter, values: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    step, average, square = (values[name].detach().clone() for name in STATE)
    average, square = average.to(parameter), square.to(parameter)
    return step.to(parameter.device, torch.float32), average, square


def _split_by_dtype(parameters: Sequence[nn.Parameter], numbers: Sequence[int]) -> list[list[int]]:
    """Splits parameters by device and type: a fused call takes one kind."""
    kinds: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i in numbers:
        kinds.setdefault((parameters[i].device, parameters[i].dtype), []).append(i)
    return [*kinds.values()]
