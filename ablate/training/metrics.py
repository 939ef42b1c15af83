"""Cost and metrics of a training, summed without waiting for the device."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ablate.model.prediction import Prediction
from ablate.training.batches import MaskedBatch
from ablate.training.health import Health

SUMMED = ("loss", "loss of the position baseline", "gradient norm")  # values kept for each step


class DivergedError(RuntimeError):
    """The loss or its gradient is not finite."""


class CollapsedError(RuntimeError):
    """The features have collapsed, and the study stops collapsed runs."""


class StepCounts(NamedTuple):
    """What one step, or a part of one, uses; see `TrainingCost` for the units."""

    clips: int = 0
    frames: int = 0  # without padding
    masks: int = 0
    fallbacks: int = 0
    context_tokens: int = 0
    target_tokens: int = 0
    valid_tokens: int = 0
    flops: int = 0

    @classmethod
    def measure(cls, batch: MaskedBatch, prediction: Prediction, flops: int) -> "StepCounts":
        """Counts the clips, masks and tokens of a batch and its prediction."""
        fallback = batch.mask.fallback
        return cls(
            clips=batch.num_clips,
            frames=int(batch.batch.valid_frames.sum()) // batch.roles,
            masks=len(batch.mask.context),
            fallbacks=0 if fallback is None else int(fallback.sum()),
            context_tokens=prediction.context.segments.num_real,
            target_tokens=prediction.targets.segments.num_real,
            valid_tokens=prediction.clip_patches.segments.num_tokens * prediction.context.copies,
            flops=flops,
        )

    @classmethod
    def total(cls, parts: Iterable[Sequence[int]]) -> "StepCounts":
        """Sums over one or more parts of a step, or over ranks."""
        return cls(*map(sum, zip(*parts, strict=True)))


@dataclass
class TrainingCost:
    """What training has used so far, over all ranks. It depends on the masks."""

    steps: int = 0
    clips: int = 0
    audio_seconds: float = 0.0  # without padding
    masks: int = 0  # one or more per clip
    fallbacks: int = 0  # masks that a guard had to change
    context_tokens: int = 0  # without filler tokens
    target_tokens: int = 0  # a patch of several blocks counts once
    valid_tokens: int = 0  # patches without padding, once per mask
    flops: int = 0  # floating-point operations, 2 per multiply-add
    seconds: float = 0.0  # wall-clock time up to the last report, without online probes

    def add(self, counts: StepCounts, hop_seconds: float) -> None:
        """Adds the counts of one whole step; `hop_seconds` is the duration of a frame."""
        used = counts._asdict()
        self.steps += 1
        self.audio_seconds += used.pop("frames") * hop_seconds
        for name, value in used.items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class TrainingMetrics:
    """Metrics of a training after `step` steps.

    Losses, norm, fractions and speed are means over the steps since the last report; all others
    are values after the last step.
    """

    step: int
    loss: float
    position_loss: float  # loss of the position baseline on the same batches
    gradient_norm: float  # before clipping
    context_fraction: float  # realised share of the valid patches
    target_fraction: float  # realised share of the valid patches
    fallback_fraction: float  # share of the masks that a guard had to change
    tokens_per_second: float  # context and target tokens
    rate: float  # learning rate
    momentum: float  # momentum of the target encoder
    effective_rank: float  # see `Health`
    feature_std: float  # see `Health`
    lidar: float | None = None  # see `Health`
    ema_gap: float | None = None  # see `Health`


class MetricWindow:
    """Collects the metrics of the steps since the last report, without waiting for the device."""

    def __init__(self) -> None:
        self._restart(TrainingCost())

    def _restart(self, cost: TrainingCost) -> None:
        self._steps: list[Tensor] = []  # the values of `SUMMED` of each step, (3,)
        self._before = replace(cost)
        self._since = time.perf_counter()

    def add(self, losses: Tensor, norm: Tensor) -> None:
        """Adds a step: its loss and that of the position baseline, (2,), and its gradient norm."""
        self._steps.append(torch.cat([losses, norm.view(1)]))

    def exclude(self, seconds: float) -> None:
        """Does not count the last `seconds` as training time."""
        self._since += seconds

    def state_dict(self) -> dict[str, Any]:
        """Returns the collected values and the elapsed seconds, for a checkpoint."""
        seconds = time.perf_counter() - self._since
        return {"steps": self._steps, "before": asdict(self._before), "seconds": seconds}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores a saved state onto a device; the time since it was saved does not count."""
        self._steps = [step.to(device) for step in state["steps"]]
        self._before = TrainingCost(**state["before"])
        self._since = time.perf_counter() - state["seconds"]

    def find_not_finite(self, done: int) -> tuple[int, str] | None:
        """Finds the first step since the last report that has a value which is not finite.

        Args:
            done: Number of steps done.

        Returns:
            The step, counted from 1, and the name of the value (see `SUMMED`); None if all are
            finite.
        """
        if not self._steps:
            return None
        bad = (~torch.stack(self._steps).isfinite()).nonzero()
        if len(bad) == 0:
            return None
        step, column = bad[0].tolist()
        return done - len(self._steps) + 1 + step, SUMMED[column]

    def close(
        self, cost: TrainingCost, health: Health, rate: float, momentum: float
    ) -> TrainingMetrics:
        """Returns the metrics of one or more collected steps, and starts a new window.

        Also adds the elapsed seconds to `cost`.
        """
        values = torch.stack(self._steps).mean(dim=0).tolist()
        seconds = time.perf_counter() - self._since
        cost.seconds += seconds
        context = cost.context_tokens - self._before.context_tokens
        targets = cost.target_tokens - self._before.target_tokens
        valid = cost.valid_tokens - self._before.valid_tokens
        masks = cost.masks - self._before.masks
        fallbacks = cost.fallbacks - self._before.fallbacks
        metrics = TrainingMetrics(
            step=cost.steps,
            loss=values[0],
            position_loss=values[1],
            gradient_norm=values[2],
            context_fraction=context / valid,
            target_fraction=targets / valid,
            fallback_fraction=fallbacks / masks,
            tokens_per_second=(context + targets) / seconds,
            rate=rate,
            momentum=momentum,
            effective_rank=health.effective_rank,
            feature_std=health.feature_std,
            lidar=health.lidar,
            ema_gap=health.ema_gap,
        )
        self._restart(cost)
        return metrics
