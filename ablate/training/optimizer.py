"""The training budget, and Adam with its schedules and the momentum of the target encoder."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from ablate.model.masking import check_range
from ablate.model.precision import Precision
from ablate.parts import AS_BEFORE
from ablate.training.fused_adam import FusedAdam, ParameterGroup
from ablate.training.schedules import constant, cosine, linear, ramp, warm_decay

MomentumSchedule = Literal["linear", "cosine", "constant"]
Decay = Literal["cosine", "linear", "constant"]
SHAPES = {"cosine": cosine, "linear": linear, "constant": constant}


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
    """Adam with its schedules, and the momentum of the target encoder.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    https://arxiv.org/abs/1711.05101

    Args:
        kind: `adamw`, or `adam`, which adds the weight decay to the gradient instead of decoupling
            it from the rate.
        rate: Peak learning rate.
        warmup: Share of the steps in which the rate rises linearly.
        warmup_from: Rate before the first step, as a share of `rate`.
        decay: How the rate falls after the warm-up.
        decay_to: Rate at the last step, as a share of `rate`.
        horizon: Length of the schedules of rate and weight decay over that of the training; above 1
            they are stopped before their end, as by `ipe_scale` of V-JEPA.
        betas: Decay rates of Adam's moments.
        eps: Added to the root of Adam's second moment.
        weight_decay: Weight decay at the first and the last step.
        weight_decay_schedule: How the weight decay changes between them.
        decay_vectors: Whether vectors (biases, norms, embeddings of one token) decay like matrices.
        layer_decay: Factor of the rate from one layer of the encoder to the layer below it.
        clip: Greatest gradient norm; 0 for no clipping.
        momentum: Momentum of the target encoder at the first and the last step.
        momentum_schedule: How the momentum changes between them.
        momentum_horizon: Share of the training over which the momentum changes; above 1, it never
            reaches its last value.
        follow: Whether the target encoder is updated after the optimiser's step or before it.
        precision: Number format of training: float32, bfloat16 under autocast, or on a GPU float32
            with matrix products in TF32. Float32 alone uses no tensor cores.

    Example:
        optimizer: {rate: 1e-3, warmup: 0.1, warmup_from: 0.2, precision: bf16}
    """

    kind: Literal["adamw", "adam"] = field(default="adamw", metadata={AS_BEFORE: "adamw"})
    rate: float = 1e-3
    warmup: float = 0.1
    warmup_from: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    decay: Decay = field(default="cosine", metadata={AS_BEFORE: "cosine"})
    decay_to: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    horizon: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = field(default=1e-8, metadata={AS_BEFORE: 1e-8})
    weight_decay: tuple[float, float] = (0.05, 0.05)
    weight_decay_schedule: Literal["linear", "cosine"] = field(
        default="linear", metadata={AS_BEFORE: "linear"}
    )
    decay_vectors: bool = field(default=False, metadata={AS_BEFORE: False})
    layer_decay: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    clip: float = 3.0
    momentum: tuple[float, float] = (0.99, 1.0)
    momentum_schedule: MomentumSchedule = field(default="linear", metadata={AS_BEFORE: "linear"})
    momentum_horizon: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    follow: Literal["after", "before"] = field(default="after", metadata={AS_BEFORE: "after"})
    # fp32 uses no tensor cores of a GPU: choose bf16 there, or tf32
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        for name in ("warmup", "warmup_from", "decay_to", "momentum"):
            check_range(name, getattr(self, name), low=0, high=1)
        if self.momentum_schedule == "constant" and len(set(self.momentum)) > 1:
            raise ValueError(
                "with a constant schedule `momentum` must hold the same value twice; "
                f"got {list(self.momentum)}"
            )
        if self.decay == "constant" and self.decay_to > 0:
            raise ValueError(
                f"with `decay: constant` the rate does not fall; leave out `decay_to`, which is "
                f"{self.decay_to}"
            )
        for name in ("horizon", "momentum_horizon", "eps", "layer_decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be above 0; got {getattr(self, name)}")
        if self.layer_decay > 1:
            raise ValueError(f"`layer_decay` must be at most 1; got {self.layer_decay}")
        for name, value in (("rate", self.rate), ("clip", self.clip)):
            if value < 0:
                raise ValueError(f"`{name}` must not be negative; got {value}")
        for name, pair in (("betas", self.betas), ("weight_decay", self.weight_decay)):
            if min(pair) < 0 or max(pair) >= 1:
                raise ValueError(f"`{name}` must lie in [0, 1); got {list(pair)}")

    def rate_at(self, step: int, steps: int) -> float:
        """Computes the learning rate at `step`, counted from 0, of `steps`."""
        return warm_decay(
            self.rate,
            step,
            steps,
            self.warmup,
            start=self.rate * self.warmup_from,
            end=self.rate * self.decay_to,
            decay=SHAPES[self.decay],
            horizon=self.horizon,
        )

    def weight_decay_at(self, step: int, steps: int) -> float:
        """Computes the weight decay at `step`, counted from 0, of `steps`."""
        share = min(1.0, ramp(step, steps) / self.horizon)
        return SHAPES[self.weight_decay_schedule](*self.weight_decay, share)

    def momentum_at(self, step: int, steps: int) -> float:
        """Computes the momentum of the target encoder at `step`, counted from 0, of `steps`."""
        interpolate = cosine if self.momentum_schedule == "cosine" else linear
        return interpolate(*self.momentum, min(1.0, ramp(step, steps) / self.momentum_horizon))


class ScheduledAdam:
    """Adam on the trainable parameters of a module, with scheduled rate and weight decay.

    Args:
        module: Its parameters of two or more dimensions decay; vectors only if the settings say so.
        settings: Peak rate, schedules and clipping.
        steps: Number of steps; the schedules end at the last one.
    """

    def __init__(self, module: nn.Module, settings: Optimizer, steps: int) -> None:
        self._settings = settings
        self._steps = steps
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self._adam = FusedAdam(
            _group_parameters(module, settings),
            decoupled=settings.kind == "adamw",
            betas=settings.betas,
            eps=settings.eps,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of Adam; the schedules have none."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a saved state."""
        self._adam.load_state_dict(state)

    def rate_at(self, step: int) -> float:
        """Computes the learning rate at `step`, counted from 0."""
        return self._settings.rate_at(step, self._steps)

    @property
    def groups(self) -> list[ParameterGroup]:
        """The groups of parameters, with their factors of the rate."""
        return self._adam.groups

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
        rate, decay = self.rate_at(step), self._settings.weight_decay_at(step, self._steps)
        for group in self.groups:
            group.rate = rate * group.rate_factor
            group.weight_decay = decay if group.decays else 0.0
        norm = nn.utils.clip_grad_norm_(self.parameters, self._settings.clip or float("inf"))
        self._adam.step()
        self.zero_grad()
        return norm

    def zero_grad(self) -> None:
        """Clears the gradients."""
        self._adam.zero_grad()


def _group_parameters(module: nn.Module, settings: Optimizer) -> Iterator[ParameterGroup]:
    """Yields the groups of parameters that share a weight decay and a factor of the rate."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    heights = _measure_heights([name for name, _ in named])
    top = max(heights.values(), default=0)
    for height in range(top + 1) if settings.layer_decay < 1 else (None,):
        factor = 1.0 if height is None else settings.layer_decay ** (top - height)
        chosen = [(name, p) for name, p in named if height in (None, heights[name])]
        for decays in (True, False):
            group = [p for _, p in chosen if (settings.decay_vectors or p.dim() >= 2) == decays]
            yield ParameterGroup(parameters=group, decays=decays, rate_factor=factor)


def _measure_heights(names: list[str]) -> dict[str, int]:
    """Returns the height of each parameter: 0 for the stem of the encoder, 1 for its first layer.

    What follows the encoder's last layer, and all other modules, are one above that layer.
    """
    layers = {n: int(m[1]) + 1 for n in names if (m := re.match(r"encoder\..*?layers\.(\d+)\.", n))}
    top = max(layers.values(), default=0) + 1
    is_stem = re.compile(r"encoder\.(project|positions|\w+_embedding)\b")
    return {name: layers.get(name, 0 if is_stem.match(name) else top) for name in names}
