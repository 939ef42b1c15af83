"""The training loop: a JEPA in, a trained JEPA out, with what it cost and how it fared."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ablate.audio.loader import Batch, Loader
from ablate.chance import generator
from ablate.model.batching import Batching, truncate
from ablate.model.jepa import JEPA, Prediction
from ablate.model.masking import AbstractMasker, Grid, Mask
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import pack
from ablate.model.patchify import AbstractPatchifier
from ablate.training.health import Health, PositionGuess
from ablate.training.optimizer import Budget, Optimizer, ScheduledAdamW
from ablate.training.schedules import linear, ramp

LOG_EVERY = 50  # steps
REFERENCE_CLIPS = 64  # on which the features' health is measured


class DivergedError(RuntimeError):
    """The loss is no longer a number."""


@dataclass
class Cost:
    """What training has used. Masks differ in it, so every run records it."""

    steps: int = 0
    clips: int = 0
    audio_seconds: float = 0.0
    masks: int = 0  # a clip may have several
    fallbacks: int = 0  # masks that a guard had to change
    context_tokens: int = 0
    target_tokens: int = 0
    valid_tokens: int = 0  # of which those are a share: real patches, once per mask
    flops: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Log:
    """How training fares: means over the steps since the last report, after `step` steps."""

    step: int
    loss: float
    position_loss: float  # of guessing every target by its position alone, on the same batches
    gradient_norm: float  # before clipping
    context_fraction: float  # realised, of valid patches
    target_fraction: float
    fallback_fraction: float  # of masks that a guard had to change
    tokens_per_second: float  # context and target tokens
    rate: float
    momentum: float
    effective_rank: float
    feature_std: float


@dataclass(frozen=True)
class Outcome:
    """What a training leaves beside the trained model."""

    start: Health
    end: Health
    logs: list[Log]
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Everything one training needs. `seed` keys the masks; the loader has its own."""

    jepa: JEPA
    loader: Loader
    patchifier: AbstractPatchifier
    grid: Grid
    masker: AbstractMasker
    objective: AbstractObjective
    budget: Budget
    optimizer: Optimizer
    batching: Batching
    seed: int
    hop_seconds: float
    device: torch.device
    on_log: Callable[[Log], None]
    on_mask: Callable[[int, Batch, Mask], None]

    def train(self) -> Outcome:
        """Trains for the whole budget. Raises `DivergedError` when the loss is not finite."""
        steps, cost, logs = self.budget.steps, Cost(), []
        adamw = ScheduledAdamW(self.jepa, self.optimizer, steps)
        guess = PositionGuess(self.grid.size, self.jepa.encoder.dim, self.device)
        start, window = self.health(), _Window()
        for step in range(steps):
            batch, patches, mask, valid = self._draw(step)
            with self._autocast():
                prediction = self.jepa(patches, mask, valid, self.batching)
            loss = prediction.loss(self.objective)
            guessed = guess.loss(prediction, self.objective)
            norm = adamw.step(loss, step)
            momentum = linear(*self.optimizer.momentum, ramp(step, steps))
            self.jepa.follow(momentum)
            guess.learn(prediction)
            window.add(loss.detach(), guessed, norm)
            self._count(cost, batch, mask, prediction)
            if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
                logs.append(window.close(cost, self.health(), adamw.rate(step), momentum))
                self.on_log(logs[-1])
                self.on_mask(step + 1, batch, mask)
        return Outcome(start, self.health(), logs, cost)

    def health(self) -> Health:
        """Measures the target encoder's features on a fixed batch of clips, shown whole."""
        batch = self.loader.batch(0, REFERENCE_CLIPS)
        patches, valid = self._cut(batch)
        with torch.no_grad(), self._autocast():
            features = self.jepa.target_encoder(patches, pack(valid, self.device))
        return Health.of(features)

    def _draw(self, step: int) -> tuple[Batch, Tensor, Mask, Tensor]:
        batch = self.loader.batch(step, self.budget.batch)
        patches, valid = self._cut(batch)
        chance = generator(self.seed, "mask", step)
        mask = self.masker(
            self.grid,
            len(valid),
            generator=chance,
            progress=ramp(step, self.budget.steps),
            valid=valid,
            content=patches.cpu() if self.masker.promises.needs == "patches" else None,
        )
        return batch, patches, truncate(mask, self.batching, chance), valid

    def _cut(self, batch: Batch) -> tuple[Tensor, Tensor]:
        valid = self.patchifier.valid(batch.valid_frames, batch.mels.shape[1])
        return self.patchifier.cut(batch.mels.to(self.device, non_blocking=True)), valid

    def _autocast(self) -> torch.autocast:
        enabled = self.optimizer.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _count(self, cost: Cost, batch: Batch, mask: Mask, prediction: Prediction) -> None:
        cost.steps += 1
        cost.clips += len(batch.mels)
        cost.audio_seconds += int(batch.valid_frames.sum()) * self.hop_seconds
        cost.masks += len(prediction.context.segments.lengths)
        cost.fallbacks += 0 if mask.fallback is None else int(mask.fallback.sum())
        cost.context_tokens += prediction.context.segments.num_real
        cost.target_tokens += prediction.targets.segments.num_real
        cost.valid_tokens += prediction.whole.segments.total * prediction.context.copies
        cost.flops += self.jepa.flops(prediction)


class _Window:
    """Sums what happened since the last report, without asking the device for a number."""

    def __init__(self) -> None:
        self._open(Cost())

    def _open(self, cost: Cost) -> None:
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []
        self._before = replace(cost)
        self._since = time.perf_counter()

    def add(self, loss: Tensor, guessed: Tensor, norm: Tensor) -> None:
        self._steps.append((loss, guessed, norm))

    def close(self, cost: Cost, health: Health, rate: float, momentum: float) -> Log:
        """Reports on the steps since the last call, and adds their seconds to `cost`."""
        values = [torch.stack(column).mean().item() for column in zip(*self._steps, strict=True)]
        seconds = time.perf_counter() - self._since
        cost.seconds += seconds
        if not all(map(math.isfinite, values)):
            raise DivergedError(f"the loss is not finite at step {cost.steps}; lower the rate")
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
