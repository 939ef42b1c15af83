"""The training loop of a JEPA."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ablate.model.attention import KernelChoice, record_kernels
from ablate.model.batching import Batching
from ablate.model.jepa import JEPA
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import pack
from ablate.model.precision import autocast
from ablate.model.prediction import Prediction
from ablate.model.regularisers import AbstractRegulariser
from ablate.training.batch_drawer import BatchDrawer
from ablate.training.batches import MaskedBatch
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.divergence import OnCollapse, check_collapse, check_finite, has_collapsed
from ablate.training.health import Health, PositionBaseline
from ablate.training.metrics import StepCounts, TrainingMetrics
from ablate.training.online_probe import OnlineProbe, ProbeResult
from ablate.training.optimizer import Budget, Optimizer, ScheduledAdam
from ablate.training.schedules import ramp
from ablate.training.signals import PausedError, StoppedError, StopSignal
from ablate.training.state import TrainingResult, TrainingState

LOG_EVERY = 50  # steps
REFERENCE_PATCHES = 8192  # maximum number of patches; more would not change the health measured

OnMetrics = Callable[[TrainingMetrics | None, ProbeResult | None], None]


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Trains a JEPA on the batches of a drawer, whose seed keys the random numbers of layers."""

    jepa: JEPA
    drawer: BatchDrawer
    objective: AbstractObjective
    regulariser: AbstractRegulariser | None
    budget: Budget
    optimizer: Optimizer
    batching: Batching
    on_collapse: OnCollapse
    hop_seconds: float  # duration of a frame
    device: torch.device
    ranks: Ranks
    checkpoints: Checkpoints  # written by rank 0
    stop: StopSignal
    pause_step: int | None = None
    online_probe: OnlineProbe | None = None  # on rank 0 only

    def train(
        self,
        saved: dict[str, Any] | None = None,
        *,
        on_metrics: OnMetrics = lambda metrics, result: None,
        on_masks: Callable[[int, MaskedBatch], None] = lambda step, batch: None,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> TrainingResult:
        """Trains for the whole budget.

        Args:
            saved: State to resume from; None starts from scratch. It is emptied.
            on_metrics: Called with the metrics (every 50 steps), the result of the online probe
                (when it ran), or both.
            on_masks: Called with every report: the number of steps done, and the last batch.
            on_step: Called after every step with the number of steps done; it does not wait for
                the device.

        Raises:
            DivergedError: The loss or a gradient is not finite.
            CollapsedError: The features have collapsed, and `on_collapse` is `stop`.
            RankLostError: Another rank is lost.
            StoppedError: A stop signal has arrived; the state is saved.
            PausedError: `pause_step` is reached; the state is saved.
        """
        state = self.create_state(saved)
        if state.cost.steps == self.pause_step:  # an earlier attempt saved here before scoring
            raise PausedError(f"paused at step {self.pause_step}")
        if saved is None and self.online_probe is not None:
            on_metrics(None, self._run_probe(self.online_probe, state))
        served: dict[str, KernelChoice] = {}
        with self.drawer.drawing() as draw, record_kernels(served):
            for step in range(state.cost.steps, self.budget.steps):
                batch = draw(step)
                self.step(state, batch)
                state.record_attention(served)
                on_step(state.cost.steps)
                if self._report(state, on_metrics):
                    on_masks(state.cost.steps, batch)
                self._save(state)
        assert state.metrics is not None
        return TrainingResult(
            start=state.start,
            last=state.metrics,
            cost=state.cost,
            probe_history=state.probe_history,
            collapsed=has_collapsed(state, self.measure_health(), self.online_probe),
            warnings=state.warnings,
            attention=state.attention,
        )

    def create_state(self, saved: dict[str, Any] | None = None) -> TrainingState:
        """Creates the state before the first step, or restores a saved one, which is emptied."""
        if saved is None:
            self.jepa.target.prepare(self.drawer.load_patches, self.jepa.seed)
        state = TrainingState(
            jepa=self.jepa,
            adam=ScheduledAdam(self.jepa, self.optimizer, self.budget.steps),
            baseline=PositionBaseline(self.drawer.grid.size, self.jepa.target.dim, self.device),
            start=self.measure_health(),
            micro_batches=self.budget.accumulate,
        )
        if saved is not None:
            state.load_state_dict(saved)
        return state

    def step(self, state: TrainingState, batch: MaskedBatch) -> None:
        """Takes the next step on this rank's part of a global batch, together with all ranks."""
        step = state.cost.steps
        part = batch.split(self.ranks.count)[self.ranks.rank]
        num_units = self.objective.num_units(batch.mask)
        losses, counts = self._accumulate_with_backoff(state, part, num_units)
        adam, baseline = state.adam, state.baseline
        pending = [baseline.pending, *self.jepa.target.pending]
        self.ranks.all_reduce([losses, *pending, *adam.gradients])
        target_first = self.optimizer.follow == "before"
        progress = ramp(step, self.budget.steps)
        if target_first:
            self.jepa.update_target(self._momentum(step), progress)
        norm = adam.step(step)
        if not target_first:
            self.jepa.update_target(self._momentum(step), progress)
        baseline.update()
        state.window.add(losses, norm)
        state.cost.add(StepCounts.total(self.ranks.all_gather(counts)), self.hop_seconds)

    def measure_health(self) -> Health:
        """Measures the probed encoder's features on a fixed set of whole clips."""
        patches, valid = self.drawer.load_patches(0)
        clips = slice(max(2, REFERENCE_PATCHES // self.drawer.grid.size))
        with torch.no_grad(), self._autocast():
            packing = pack(valid[clips], self.device)
            features = self.jepa.probed_encoder(patches[clips], packing).tokens
            is_average = self.jepa.probed_encoder is not self.jepa.encoder
            online = self.jepa.encoder(patches[clips], packing).tokens if is_average else None
        return Health.measure(features, packing, online)

    def _accumulate_with_backoff(
        self, state: TrainingState, part: MaskedBatch, num_units: int
    ) -> tuple[Tensor, StepCounts]:
        """Accumulates gradients; if out of memory, retries with twice as many micro-batches."""
        while True:
            try:
                return self._accumulate(state, part, num_units)
            except torch.OutOfMemoryError as error:
                coupled = self.objective.coupled or (self.regulariser and self.regulariser.coupled)
                if coupled or state.micro_batches >= part.num_clips:
                    raise
                reason = str(error).strip().split("\n")[0]
            self._back_off(state, part.num_clips, reason)

    def _back_off(self, state: TrainingState, num_clips: int, reason: str) -> None:
        state.adam.zero_grad()
        state.baseline.discard_pending()
        self.jepa.target.discard_pending()
        state.micro_batches = min(2 * state.micro_batches, num_clips)
        state.warnings.append(
            f"out of memory at step {state.cost.steps + 1} ({reason}): "
            f"{state.micro_batches} micro-batches per step from here on"
        )
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _accumulate(
        self, state: TrainingState, part: MaskedBatch, num_units: int
    ) -> tuple[Tensor, StepCounts]:
        """Accumulates gradients over micro-batches, each weighed by its share of `num_units`.

        Returns the loss and that of the position baseline, (2,), and the counts.
        """
        losses, counts = torch.zeros(2, device=self.device), []
        progress = ramp(state.cost.steps, self.budget.steps)
        # a rank may have fewer clips than there are micro-batches
        for micro in part.split(min(state.micro_batches, part.num_clips)):
            with self._autocast():
                patches = self.drawer.cut(micro.batch)
                view = None if micro.view is None else self.drawer.cut(micro.view)
                prediction = self.jepa(
                    patches,
                    micro.mask,
                    micro.valid,
                    self.batching,
                    rng=micro.rng,
                    view=view,
                    progress=progress,
                )
            share = self.objective.num_units(micro.mask) / num_units
            loss = prediction.loss(self.objective) * share
            (loss + self._auxiliary_loss(prediction) * share).backward()
            baseline_loss = state.baseline.loss(prediction, self.objective) * share
            state.baseline.accumulate(prediction)
            losses += torch.stack([loss.detach(), baseline_loss])
            flops = self.jepa.flops(prediction.query)
            counts.append(StepCounts.measure(micro, prediction, flops))
        return losses, StepCounts.total(counts)

    def _auxiliary_loss(self, prediction: Prediction) -> Tensor | float:
        """Computes the terms that are minimised with the loss but not reported as loss."""
        summaries = prediction.utterance_loss(self.objective)
        return summaries + (self.regulariser.penalty(prediction) if self.regulariser else 0.0)

    def _report(self, state: TrainingState, on_metrics: OnMetrics) -> bool:
        """Runs the online probe and reports metrics if due; returns whether metrics were."""
        done, steps = state.cost.steps, self.budget.steps
        probe = (
            self.online_probe
            if self.online_probe and self.online_probe.is_due(done, steps)
            else None
        )
        due = done % LOG_EVERY == 0 or done == steps
        if probe is None and not due:
            return False
        check_finite(state, self.drawer.loader, self.budget.batch, self.checkpoints)
        result = self._run_probe(probe, state) if probe else None
        health = self.measure_health() if due else None
        if health is not None:
            rate, momentum = state.adam.rate_at(done - 1), self._momentum(done - 1)
            state.metrics = state.window.close(state.cost, health, rate, momentum)
        on_metrics(state.metrics if due else None, result)
        check_collapse(state, health, probe, self.on_collapse)
        return due

    def _run_probe(self, probe: OnlineProbe, state: TrainingState) -> ProbeResult:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # pending steps count as training time
        before = state.probe_history.seconds
        result = probe.run(self.jepa.probed_encoder, state.cost.steps, state.probe_history)
        state.window.exclude(state.probe_history.seconds - before)
        return result

    def _save(self, state: TrainingState) -> None:
        """Saves a checkpoint if one is due, or if any rank has received a stop signal."""
        done, steps = state.cost.steps, self.budget.steps
        at_pause = done == self.pause_step
        due = (at_pause or self.checkpoints.is_due) and done < steps
        ranks = self.ranks.all_gather([self.stop.signal or 0, due])
        number, due = max(number for number, _ in ranks), bool(ranks[0][1])
        if number or due:
            check_finite(state, self.drawer.loader, self.budget.batch, self.checkpoints)
        if self.ranks.rank == 0 and (number or due):
            self.checkpoints.save(done, state.state_dict())
        if number:
            raise StoppedError(f"{signal.Signals(number).name} at step {done} of {steps}")
        if at_pause and done < steps:
            raise PausedError(f"paused at step {done} of {steps}")

    def _momentum(self, step: int) -> float:
        return self.optimizer.momentum_at(step, self.budget.steps)

    def _autocast(self) -> torch.autocast:
        return autocast(self.optimizer.precision, self.device)
