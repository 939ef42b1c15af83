"""The training budget, and AdamW with its schedules and the momentum of the target encoder."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ablate.model.masking import check_range
from ablate.parts import AS_BEFORE
from ablate.training.schedules import cosine, linear, ramp, warm_cosine

MomentumSchedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a trial trains, in steps: seconds would depend on the load of the machine.

    Args:
        steps: Number of training steps.
        batch: Clips per step, over all devices.
        accumulate: Number of parts into which the batch of a step is split, whose gradients are
            added.
        checkpoint_activations: Whether activations are computed again in the backward pass, which
            needs less memory and about a third more compute.

    Example:
        budget: {steps: 1000, batch: 64}
    """

    steps: int
    batch: int
    accumulate: int = field(default=1, metadata={AS_BEFORE: 1})
    checkpoint_activations: bool = field(default=False, metadata={AS_BEFORE: False})

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.accumulate > self.batch:
            raise ValueError(
                f"`accumulate` must be at most `batch`; got {self.accumulate} micro-batches of "
                f"{self.batch} clips"
            )


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """AdamW with its schedules, and the momentum of the target encoder.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    https://arxiv.org/abs/1711.05101

    Args:
        rate: Peak learning rate; it falls to 0 along a cosine.
        warmup: Share of the steps in which the rate rises linearly.
        betas: Decay rates of AdamW's moments.
        weight_decay: Weight decay at the first and the last step; vectors have none.
        clip: Greatest gradient norm; 0 for no clipping.
        momentum: Momentum of the target encoder at the first and the last step.
        momentum_schedule: How the momentum changes between them.
        momentum_horizon: Share of the training over which the momentum changes; above 1, it never
            reaches its last value.
        follow: Whether the target encoder is updated after the optimiser's step or before it.
        precision: Number format of training: float32, or bfloat16 under autocast.

    Example:
        optimizer: {rate: 1e-3, warmup: 0.1, precision: bf16}
    """

    rate: float = 1e-3
    warmup: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: tuple[float, float] = (0.05, 0.05)
    clip: float = 3.0
    momentum: tuple[float, float] = (0.99, 1.0)
    momentum_schedule: MomentumSchedule = field(default="linear", metadata={AS_BEFORE: "linear"})
    momentum_horizon: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    follow: Literal["after", "before"] = field(default="after", metadata={AS_BEFORE: "after"})
    precision: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        check_range("warmup", self.warmup, low=0, high=1)
        check_range("momentum", self.momentum, low=0, high=1)
        if self.momentum_schedule == "constant" and len(set(self.momentum)) > 1:
            raise ValueError(
                "with a constant schedule `momentum` must hold the same value twice; "
                f"got {list(self.momentum)}"
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
        """Computes the momentum of the target encoder at `step`, counted from 0, of `steps`."""
        interpolate = cosine if self.momentum_schedule == "cosine" else linear
        return interpolate(*self.momentum, min(1.0, ramp(step, steps) / self.momentum_horizon))


class ScheduledAdamW:
    """AdamW on the trainable parameters of a module, with scheduled rate and weight decay.

    Args:
        module: Its parameters of two or more dimensions decay, its vectors do not.
        settings: Peak rate, schedules and clipping.
        steps: Number of steps; the schedules end at the last one.
    """

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
        """Returns the state of AdamW; the schedules have none."""
        return self._adamw.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state."""
        self._adamw.load_state_dict(state)

    def rate_at(self, step: int) -> float:
        """Computes the learning rate at `step`, counted from 0."""
        return warm_cosine(self._settings.rate, step, self._steps, self._settings.warmup)

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of the parameters that were used since the last step."""
        return [p.grad for p in self.parameters if p.grad is not None]

    def step(self, step: int) -> Tensor:
        """Updates the parameters and clears the gradients.

        Args:
            step: Current step, counted from 0.

        Returns:
            The gradient norm before clipping, a scalar on the device.
        """
        decay = linear(*self._settings.weight_decay, ramp(step, self._steps))
        for group in self._adamw.param_groups:
            group["lr"] = self.rate_at(step)
            group["weight_decay"] = decay if group["decays"] else 0.0
        norm = nn.utils.clip_grad_norm_(self.parameters, self._settings.clip or float("inf"))
        self._adamw.step()
        self.zero_grad()
        return norm

    def zero_grad(self) -> None:
        """Clears the gradients."""
        self._adamw.zero_grad()
