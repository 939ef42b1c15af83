"""What a training uses and how it fares, summed without asking the device for a number."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ablate.model.prediction import Prediction
from ablate.training.batches import Drawn
from ablate.training.health import Health

SUMMED = ("loss", "loss of guessing by position", "gradient norm")  # of each step


class DivergedError(RuntimeError):
    """The loss, or its gradient, is no longer finite."""


class CollapsedError(RuntimeError):
    """The features have collapsed, and the study says to stop then."""


class Counts(NamedTuple):
    """What one step, or a part of one, takes up; in the words of `Cost`."""

    clips: int = 0
    frames: int = 0  # of real sound
    masks: int = 0
    fallbacks: int = 0
    context_tokens: int = 0
    target_tokens: int = 0
    valid_tokens: int = 0
    flops: int = 0

    @classmethod
    def of(cls, drawn: Drawn, prediction: Prediction, flops: int) -> "Counts":
        """Counts what was drawn and what was predicted from it."""
        fallback = drawn.mask.fallback
        return cls(
            clips=drawn.clips,
            frames=int(drawn.batch.valid_frames.sum()),
            masks=len(drawn.mask.context),
            fallbacks=0 if fallback is None else int(fallback.sum()),
            context_tokens=prediction.context.segments.num_real,
            target_tokens=prediction.targets.segments.num_real,
            valid_tokens=prediction.whole.segments.total * prediction.context.copies,
            flops=flops,
        )

    @classmethod
    def total(cls, parts: Iterable[Sequence[int]]) -> "Counts":
        """Sums over the parts of a step, or over its ranks: one or more."""
        return cls(*map(sum, zip(*parts, strict=True)))


@dataclass
class Cost:
    """What training has used, over all ranks. Masks differ in it, so every run records it."""

    steps: int = 0
    clips: int = 0
    audio_seconds: float = 0.0  # of real sound, padding left out
    masks: int = 0  # a clip may have several
    fallbacks: int = 0  # masks that a guard had to change
    context_tokens: int = 0  # no filler
    target_tokens: int = 0  # a patch of several blocks counts once
    valid_tokens: int = 0  # of which those are a share: real patches, once per mask
    flops: int = 0  # floating-point operations, 2 per multiply-add
    seconds: float = 0.0  # of wall clock, up to the last report; online probes left out

    def add(self, counts: Counts, hop_seconds: float) -> None:
        """Adds what one step took, whatever it was cut into; a frame lasts `hop_seconds`."""
        used = counts._asdict()
        self.steps += 1
        self.audio_seconds += used.pop("frames") * hop_seconds
        for name, value in used.items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Log:
    """How training fares after `step` steps.

    Losses, norm, fractions and speed are means over the steps since the last report; the rest is
    as the last step left it.
    """

    step: int
    loss: float
    position_loss: float  # of guessing every target by its position alone, on the same batches
    gradient_norm: float  # before clipping
    context_fraction: float  # realised, of valid patches
    target_fraction: float
    fallback_fraction: float  # of masks that a guard had to change
    tokens_per_second: float  # context and target tokens
    rate: float  # the learning rate
    momentum: float  # of the target encoder
    effective_rank: float  # these two: see `Health`
    feature_std: float


class Window:
    """Sums what happened since the last report, without asking the device for a number."""

    def __init__(self) -> None:
        self._open(Cost())

    def _open(self, cost: Cost) -> None:
        self._steps: list[Tensor] = []  # of each what `SUMMED` names, (3,)
        self._before = replace(cost)
        self._since = time.perf_counter()

    def add(self, losses: Tensor, norm: Tensor) -> None:
        """Takes a step's loss and its guess's, (2,), and its gradient norm, a scalar."""
        self._steps.append(torch.cat([losses, norm.view(1)]))

    def leave_out(self, seconds: float) -> None:
        """Does not count the last `seconds` as training."""
        self._since += seconds

    def state(self) -> dict[str, Any]:
        """Gathers what is summed and the seconds that went by, for a checkpoint."""
        seconds = time.perf_counter() - self._since
        return {"steps": self._steps, "before": asdict(self._before), "seconds": seconds}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Goes on, on a device, from a gathered state; the seconds since then do not count."""
        self._steps = [step.to(device) for step in state["steps"]]
        self._before = Cost(**state["before"])
        self._since = time.perf_counter() - state["seconds"]

    def not_finite(self, done: int) -> tuple[int, str] | None:
        """Returns the first of `done` steps that is not finite, and which of `SUMMED` it is.

        Steps count from 1; None where all since the last report are finite.
        """
        if not self._steps:
            return None
        bad = (~torch.stack(self._steps).isfinite()).nonzero()
        if len(bad) == 0:
            return None
        step, which = bad[0].tolist()
        return done - len(self._steps) + 1 + step, SUMMED[which]

    def close(self, cost: Cost, health: Health, rate: float, momentum: float) -> Log:
        """Reports on the steps since the last call, one or more; adds their seconds to `cost`."""
        values = torch.stack(self._steps).mean(dim=0).tolist()
        seconds = time.perf_counter() - self._since
        cost.seconds += seconds
        context = cost.context_tokens - self._before.context_tokens
        targets = cost.target_tokens - self._before.target_tokens
        valid = cost.valid_tokens - self._before.valid_tokens
        masks = cost.masks - self._before.masks
        fallbacks = cost.fallbacks - self._before.fallbacks
        log = Log(
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
        )
        self._open(cost)
        return log
