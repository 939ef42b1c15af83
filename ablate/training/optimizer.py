"""How long a trial trains, and by which AdamW: its groups, schedules and the target's momentum."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ablate.model.masking import check_range
from ablate.parts import AS_BEFORE
from ablate.training.schedules import cosine, linear, ramp, warm_cosine

Schedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a trial trains. Budgets count steps, never seconds, which would differ by load."""

    steps: int
    batch: int  # clips per step, over all devices
    accumulate: int = field(default=1, metadata={AS_BEFORE: 1})  # parts that a step is cut into
    # a third more work for a fraction of the memory: activations are computed again for gradients
    checkpoint_activations: bool = field(default=False, metadata={AS_BEFORE: False})

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.accumulate > self.batch:
            raise ValueError(f"`accumulate` {self.accumulate} cuts a batch of {self.batch} clips")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW (https://arxiv.org/abs/1711.05101), its schedules, and the target's momentum."""

    rate: float = 1e-3  # at its peak
    warmup: float = 0.1  # share of the steps
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: tuple[float, float] = (0.05, 0.05)  # first and last step; not of vectors
    clip: float = 3.0  # greatest gradient norm; 0 does not clip
    momentum: tuple[float, float] = (0.99, 1.0)  # of the target encoder, first and last step
    momentum_schedule: Schedule = field(default="linear", metadata={AS_BEFORE: "linear"})
    # over how much of the training the momentum moves; above 1 it never gets to its end
    momentum_horizon: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    # the target encoder follows after the optimiser's step, or before, with the weights of then
    follow: Literal["after", "before"] = field(default="after", metadata={AS_BEFORE: "after"})
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        check_range("warmup", self.warmup, low=0, high=1)
        check_range("momentum", self.momentum, low=0, high=1)
        if self.momentum_schedule == "constant" and len(set(self.momentum)) > 1:
            raise ValueError(
                f"a constant `momentum` is one value, written twice; got {list(self.momentum)}"
            )
        if self.momentum_horizon <= 0:
            raise ValueError(f"`momentum_horizon` must be above 0; got {self.momentum_horizon}")
        for name, value in (("rate", self.rate), ("clip", self.clip)):
            if value < 0:
                raise ValueError(f"`{name}` must not be negative; got {value}")
        for name, pair in (("betas", self.betas), ("weight_decay", self.weight_decay)):
            if min(pair) < 0 or max(pair) >= 1:
                raise ValueError(f"`{name}` must lie in [0, 1); got {list(pair)}")

    def momentum_at(self, step: int, steps: int) -> float:
        """The momentum of the target encoder at `step`, from 0, of `steps` steps."""
        moves = cosine if self.momentum_schedule == "cosine" else linear
        return moves(*self.momentum, min(1.0, ramp(step, steps) / self.momentum_horizon))


class ScheduledAdamW:
    """Steps a module's trainable parameters along the schedules, which end at the last step."""

    def __init__(self, module: nn.Module, settings: Optimizer, steps: int) -> None:
        self._settings = settings
        self._steps = steps
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        decayed = [p for p in self.parameters if p.dim() >= 2]
        others = [p for p in self.parameters if p.dim() < 2]
        self._adamw = torch.optim.AdamW(
            [{"params": decayed, "decays": True}, {"params": others, "decays": False}],
            betas=settings.betas,
            fused=True,
        )

    def state_dict(self) -> dict[str, Any]:
        """Gathers the state of AdamW; the schedules have none."""
        return self._adamw.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts a gathered state back."""
        self._adamw.load_state_dict(state)

    def rate(self, step: int) -> float:
        """The learning rate at `step`, counted from 0."""
        return warm_cosine(self._settings.rate, step, self._steps, self._settings.warmup)

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the parameters that took part since the last step."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def step(self, step: int) -> Tensor:
        """Steps down the gradients and clears them; returns their norm before clipping, a scalar.

        `step` counts from 0. The norm stays on the device.
        """
        decay = linear(*self._settings.weight_decay, ramp(step, self._steps))
        for group in self._adamw.param_groups:
            group["lr"] = self.rate(step)
            group["weight_decay"] = decay if group["decays"] else 0.0
        norm = nn.utils.clip_grad_norm_(self.parameters, self._settings.clip or float("inf"))
        self._adamw.step()
        self.forget()
        return norm

    def forget(self) -> None:
        """Clears the gradients."""
        self._adamw.zero_grad()
