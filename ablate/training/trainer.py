"""The training loop: a JEPA in, a trained JEPA out, with what it cost and how it fared."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

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
from ablate.training.checkpoint import Checkpoints
from ablate.training.health import Health, PositionGuess
from ablate.training.meter import Cost, Log, Window
from ablate.training.optimizer import Budget, Optimizer, ScheduledAdamW
from ablate.training.schedules import linear, ramp
from ablate.training.stopping import Stop, StoppedError

LOG_EVERY = 50  # steps
REFERENCE_CLIPS = 64  # on which the features' health is measured


@dataclass(frozen=True)
class Outcome:
    """What a training leaves beside the trained model."""

    start: Health
    end: Health
    last: Log
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
    checkpoints: Checkpoints
    stop: Stop
    on_log: Callable[[Log], None]
    on_mask: Callable[[int, Batch, Mask], None]

    def train(self, saved: dict[str, Any] | None = None) -> Outcome:
        """Trains for the whole budget, from the start or from a saved state.

        Raises `DivergedError` when the loss is not finite, and `StoppedError` when told to stop,
        after saving its state.
        """
        steps = self.budget.steps
        adamw = ScheduledAdamW(self.jepa, self.optimizer, steps)
        guess = PositionGuess(self.grid.size, self.jepa.target.dim, self.device)
        start, cost, log, window = self.health(), Cost(), None, Window()
        if saved is not None:
            start, cost, log = _restored(saved, self.jepa, adamw, guess, window)
        for step in range(cost.steps, steps):
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
            if cost.steps % LOG_EVERY == 0 or cost.steps == steps:
                log = window.close(cost, self.health(), adamw.rate(step), momentum)
                self.on_log(log)
                self.on_mask(cost.steps, batch, mask)
            if self.stop.signal or (self.checkpoints.due and cost.steps < steps):
                state = _state(start, cost, log, self.jepa, adamw, guess, window)
                self.checkpoints.save(cost.steps, state)
                if self.stop.signal:
                    raise StoppedError(f"{self.stop.signal.name} at step {cost.steps} of {steps}")
        assert log is not None
        return Outcome(start, self.health(), log, cost)

    def health(self) -> Health:
        """Measures the probed encoder's features on a fixed batch of clips, shown whole."""
        batch = self.loader.batch(0, REFERENCE_CLIPS)
        patches, valid = self._cut(batch)
        with torch.no_grad(), self._autocast():
            features = self.jepa.probed(patches, pack(valid, self.device)).tokens
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
            content=self._content(patches, valid),
        )
        return batch, patches, truncate(mask, self.batching, chance), valid

    def _content(self, patches: Tensor, valid: Tensor) -> Tensor | None:
        """What the masker must be shown, (clips, patches, dim) on the CPU; padding is zero."""
        if self.masker.promises.needs != "features":
            return patches.cpu() if self.masker.promises.needs else None
        whole = pack(valid, self.device)
        with torch.no_grad(), self._autocast():
            tokens = self.jepa.probed(patches, whole).tokens.float()
        cells = tokens.new_zeros(valid.numel(), tokens.shape[1]).index_copy(0, whole.index, tokens)
        shown: Tensor = cells.view(*valid.shape, -1).cpu()
        return shown

    def _cut(self, batch: Batch) -> tuple[Tensor, Tensor]:
        valid = self.patchifier.valid(batch.valid_frames, batch.mels.shape[1])
        return self.patchifier.cut(batch.mels.to(self.device)), valid

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


def _state(
    start: Health,
    cost: Cost,
    log: Log | None,
    jepa: JEPA,
    adamw: ScheduledAdamW,
    guess: PositionGuess,
    window: Window,
) -> dict[str, Any]:
    """Gathers all that going on needs, as tensors and plain numbers."""
    return {
        "start": asdict(start),
        "cost": asdict(cost),
        "log": None if log is None else asdict(log),
        "jepa": jepa.state_dict(),
        "adamw": adamw.state_dict(),
        "guess": guess.state_dict(),
        "window": window.state(),
    }


def _restored(
    saved: dict[str, Any],
    jepa: JEPA,
    adamw: ScheduledAdamW,
    guess: PositionGuess,
    window: Window,
) -> tuple[Health, Cost, Log | None]:
    """Puts a gathered state back where it was."""
    jepa.load_state_dict(saved["jepa"])
    adamw.load_state_dict(saved["adamw"])
    guess.load_state_dict(saved["guess"])
    window.restore(saved["window"])
    log = None if saved["log"] is None else Log(**saved["log"])
    return Health(**saved["start"]), Cost(**saved["cost"]), log
