"""The training loop: a JEPA in, a trained JEPA out, with what it cost and how it fared."""

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom, generator
from ablate.model.batching import Batching, truncate
from ablate.model.device import on_device
from ablate.model.jepa import JEPA
from ablate.model.masking import AbstractMasker, Grid
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import pack
from ablate.model.patchify import AbstractPatchifier
from ablate.model.prediction import Prediction
from ablate.model.regularisers import AbstractRegulariser
from ablate.training.batches import Batches, Drawn
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.divergence import OnCollapse, check_collapse, check_finite, has_collapsed
from ablate.training.health import Health, PositionGuess
from ablate.training.metrics import Cost, Counts, Log
from ablate.training.online_probe import Course, Online, Standing
from ablate.training.optimizer import Budget, Optimizer, ScheduledAdamW
from ablate.training.prefetch import Draw, drawing
from ablate.training.schedules import ramp
from ablate.training.signals import PausedError, Stop, StoppedError
from ablate.training.state import Progress

LOG_EVERY = 50  # steps
REFERENCE_CLIPS = 64  # at most, on which the features' health is measured
REFERENCE_PATCHES = 8192  # beyond which more tell nothing new, and a full grid costs as two steps

OnLog = Callable[[Log | None, Standing | None], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training leaves beside the trained model."""

    start: Health
    last: Log
    cost: Cost
    course: Course
    collapsed: bool
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Everything one training needs. `seed` keys masks and layers; the loader has its own."""

    jepa: JEPA
    loader: Batches
    patchifier: AbstractPatchifier
    grid: Grid
    masker: AbstractMasker
    objective: AbstractObjective
    regulariser: AbstractRegulariser | None
    budget: Budget
    optimizer: Optimizer
    batching: Batching
    on_collapse: OnCollapse
    seed: int
    hop_seconds: float  # from one frame to the next
    device: torch.device
    ranks: Ranks
    checkpoints: Checkpoints  # written by the first rank
    stop: Stop
    until: int | None = None  # a step to pause at
    online: Online | None = None  # of the first rank
    ahead: bool = False  # whether the next step is drawn while one is taken

    def train(
        self,
        saved: dict[str, Any] | None = None,
        *,
        on_log: OnLog = lambda log, standing: None,
        on_mask: Callable[[int, Drawn], None] = lambda step, drawn: None,
    ) -> Outcome:
        """Trains for the whole budget, from the start or from a saved state.

        `on_log` is given a report every 50 steps, what the online probe finds when it looks, or
        both; `on_mask`, with each report, the number of steps taken and what the last one saw.
        Raises `DivergedError` when loss or gradient is not finite, `CollapsedError` when features
        collapse and that is to end it, `RankLostError`, and, after saving its state, `StoppedError`
        when told to stop and `PausedError` at the step to pause at.
        """
        progress = self.begin(saved)
        if progress.cost.steps == self.until:  # saved there, and not scored
            raise PausedError(f"paused at step {self.until}")
        if saved is None and self.online is not None:
            on_log(None, self._look(self.online, progress))
        with self.drawing() as draw:
            for step in range(progress.cost.steps, self.budget.steps):
                drawn = draw(step)
                self.step(progress, drawn)
                if self._tell(progress, on_log):
                    on_mask(progress.cost.steps, drawn)
                self._save(progress)
        assert progress.log is not None
        return Outcome(
            start=progress.start,
            last=progress.log,
            cost=progress.cost,
            course=progress.course,
            collapsed=has_collapsed(progress, self.health(), self.online),
            warnings=progress.warnings,
        )

    def begin(self, saved: dict[str, Any] | None = None) -> Progress:
        """Returns the state before the first step, or the saved one."""
        if saved is None:
            self.jepa.target.prepare(self._sample, self.seed)
        progress = Progress(
            jepa=self.jepa,
            adamw=ScheduledAdamW(self.jepa, self.optimizer, self.budget.steps),
            guess=PositionGuess(self.grid.size, self.jepa.target.dim, self.device),
            start=self.health(),
            micro_batches=self.budget.accumulate,
        )
        if saved is not None:
            progress.restore(saved)
        return progress

    def _sample(self, number: int) -> tuple[Tensor, Tensor]:
        """Returns the patches of some clips on the device, and which are real."""
        batch = self.loader.batch(number, REFERENCE_CLIPS)
        return self._cut(batch), self.patchifier.valid(batch.valid_frames, batch.mels.shape[1])

    def draw(self, step: int) -> Drawn:
        """Draws the global batch of a step, and its masks."""
        batch = self.loader.batch(step, self.budget.batch)
        valid = self.patchifier.valid(batch.valid_frames, batch.mels.shape[1])
        rng = generator(self.seed, "mask", step)
        mask = self.masker(
            self.grid,
            len(valid),
            generator=rng,
            progress=ramp(step, self.budget.steps),
            valid=valid,
            content=self._content(batch, valid),
        )
        return Drawn(batch, valid, truncate(mask, self.batching, rng), StepRandom(self.seed, step))

    def drawing(self) -> AbstractContextManager[Draw]:
        """Gives what draws step after step, ahead where that is asked for and can be.

        What a masker is shown of the model's own features cannot be drawn ahead.
        """
        early = self.ahead and self.masker.promises.needs != "features"
        pinned = self.device.type == "cuda"
        return drawing(self.draw, self.budget.steps, early=early, pinned=pinned)

    def step(self, progress: Progress, drawn: Drawn) -> None:
        """Takes the next step on this rank's part of a global batch, together with all ranks."""
        step = progress.cost.steps
        mine = drawn.parts(self.ranks.count)[self.ranks.rank]
        losses, used = self._learned(progress, mine, self.objective.units(drawn.mask))
        adamw, guess = progress.adamw, progress.guess
        self.ranks.add_up([losses, guess.heard, *adamw.gradients])
        before = self.optimizer.follow == "before"
        if before:
            self.jepa.follow(self._momentum(step))
        norm = adamw.step(step)
        if not before:
            self.jepa.follow(self._momentum(step))
        guess.learn()
        progress.window.add(losses, norm)
        progress.cost.add(Counts.total(self.ranks.gather(used)), self.hop_seconds)

    def health(self) -> Health:
        """Measures the probed encoder's features on some clips, always the same, shown whole."""
        patches, valid = self._sample(0)
        clips = slice(max(2, REFERENCE_PATCHES // self.grid.size))
        with torch.no_grad(), self._autocast():
            features = self.jepa.probed(patches[clips], pack(valid[clips], self.device)).tokens
        return Health.of(features)

    def _learned(self, progress: Progress, mine: Drawn, units: int) -> tuple[Tensor, Counts]:
        """Learns, in as many parts as memory asks for; the sum over them stays the same."""
        while True:
            try:
                return self._learn(progress, mine, units)
            except torch.OutOfMemoryError as error:
                coupled = self.objective.coupled or (self.regulariser and self.regulariser.coupled)
                if coupled or progress.micro_batches >= mine.clips:
                    raise
                words = str(error).strip().split("\n")[0]
            self._back_off(progress, mine.clips, words)

    def _back_off(self, progress: Progress, clips: int, words: str) -> None:
        progress.adamw.forget()
        progress.guess.forget()
        progress.micro_batches = min(2 * progress.micro_batches, clips)
        step, parts = progress.cost.steps + 1, progress.micro_batches
        warning = f"out of memory at step {step} ({words}): a step is cut into {parts} from here"
        progress.warnings.append(warning)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _learn(self, progress: Progress, mine: Drawn, units: int) -> tuple[Tensor, Counts]:
        """Gathers gradients, part by part; a part's loss counts by its share of `units`.

        Returns the loss and that of guessing by position, (2,), and what was used.
        """
        losses, used = torch.zeros(2, device=self.device), []
        # a rank's share may hold fewer clips than the batch has parts
        for part in mine.parts(min(progress.micro_batches, mine.clips)):
            with self._autocast():
                patches = self._cut(part.batch)
                prediction = self.jepa(patches, part.mask, part.valid, self.batching, rng=part.rng)
            share = self.objective.units(part.mask) / units
            loss = prediction.loss(self.objective) * share
            (loss + self._beside(prediction) * share).backward()
            guessed = progress.guess.loss(prediction, self.objective) * share
            progress.guess.hear(prediction)
            losses += torch.stack([loss.detach(), guessed])
            used.append(Counts.of(part, prediction, self.jepa.flops(prediction.question)))
        return losses, Counts.total(used)

    def _beside(self, prediction: Prediction) -> Tensor | float:
        """What is minimised with the loss, but says nothing about how well targets are met."""
        summaries = prediction.utterance_loss(self.objective)
        return summaries + (self.regulariser.penalty(prediction) if self.regulariser else 0.0)

    def _tell(self, progress: Progress, on_log: OnLog) -> bool:
        """Looks and reports where it is time to, and judges; tells whether it has reported."""
        done, steps = progress.cost.steps, self.budget.steps
        online = self.online if self.online and self.online.due(done, steps) else None
        due = done % LOG_EVERY == 0 or done == steps
        if online is None and not due:
            return False
        self._check_finite(progress)
        standing = self._look(online, progress) if online else None
        health = self.health() if due else None
        if health is not None:
            rate, momentum = progress.adamw.rate(done - 1), self._momentum(done - 1)
            progress.log = progress.window.close(progress.cost, health, rate, momentum)
        on_log(progress.log if due else None, standing)
        check_collapse(progress, health, online, self.on_collapse)
        return due

    def _look(self, online: Online, progress: Progress) -> Standing:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the steps before it are not its own time
        before = progress.course.seconds
        standing = online.look(self.jepa.probed, progress.cost.steps, progress.course)
        progress.window.leave_out(progress.course.seconds - before)
        return standing

    def _check_finite(self, progress: Progress) -> None:
        check_finite(progress, self.loader, self.budget.batch, self.checkpoints)

    def _save(self, progress: Progress) -> None:
        """Saves where it is time to, or where some rank was told to stop."""
        done, steps = progress.cost.steps, self.budget.steps
        told = self.stop.signal or 0
        paused = done == self.until
        due = (paused or self.checkpoints.due) and done < steps
        every = self.ranks.gather([told, due])
        told, due = max(told for told, _ in every), bool(every[0][1])
        if told or due:
            self._check_finite(progress)
        if self.ranks.rank == 0 and (told or due):
            self.checkpoints.save(done, progress.state())
        if told:
            raise StoppedError(f"{signal.Signals(told).name} at step {done} of {steps}")
        if paused and done < steps:
            raise PausedError(f"paused at step {done} of {steps}")

    def _momentum(self, step: int) -> float:
        return self.optimizer.momentum_at(step, self.budget.steps)

    def _content(self, batch: Batch, valid: Tensor) -> Tensor | None:
        """What the masker must be shown, (clips, patches, dim) on the CPU; padding is zero."""
        if self.masker.promises.needs != "features":
            return self.patchifier.cut(batch.mels) if self.masker.promises.needs else None
        whole = pack(valid, self.device)
        with torch.no_grad(), self._autocast():
            tokens = self.jepa.probed(self._cut(batch), whole).tokens.float()
        cells = tokens.new_zeros(valid.numel(), tokens.shape[1]).index_copy(0, whole.index, tokens)
        shown: Tensor = cells.view(*valid.shape, -1).cpu()
        return shown

    def _cut(self, batch: Batch) -> Tensor:
        return self.patchifier.cut(on_device(batch.mels, self.device))

    def _autocast(self) -> torch.autocast:
        enabled = self.optimizer.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)
