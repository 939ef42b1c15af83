"""Trains a trial in its run folder, from its last checkpoint if it has one."""

import dataclasses
import logging
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ablate.audio.loader import Normaliser
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.run import ParameterCounts, RunCost, RunMetrics
from ablate.mask_analysis.pictures import paint
from ablate.runs.record import RunAttempt
from ablate.training.batch_drawer import BatchDrawer
from ablate.training.batches import BatchSource, MaskedBatch
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.input_scale import InputScale
from ablate.training.metrics import TrainingMetrics
from ablate.training.online_probe import OnlineProbe, ProbeResult
from ablate.training.recorder import Recorder, round_off
from ablate.training.signals import PausedError, StopSignal
from ablate.training.state import TrainingResult
from ablate.training.trainer import Trainer
from ablate.worker.audio_data import AudioData
from ablate.worker.context import RunContext
from ablate.worker.datasets import Emit
from ablate.worker.encoder_files import save_encoder
from ablate.worker.share_check import ShareCheck
from ablate.worker.trial import Trial, count_parameters

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0  # between two reports of progress without metrics
CHECKPOINTS = "checkpoints"
RUNGS = "rungs"  # encoders of earlier steps, by step, each with its scores


def train(
    folder: Path,
    trial: Trial,
    audio: AudioData,
    context: RunContext,
    attempt: RunAttempt,
    online: OnlineProbe | None = None,
) -> Path:
    """Trains a trial as the first of its ranks, the only one that writes files.

    Returns the folder of the encoder: the run folder, or a sub-folder if training paused at step
    `context.until`. Costs are recorded before the encoder is saved, because the encoder marks the
    run as trained. Raises what ends a training early: `StoppedError`, `DivergedError`,
    `CollapsedError`, and `SupersededError` if another process has taken over the run.
    """
    grid, steps = trial.grid, trial.budget.steps
    trainer, saved, warnings = _prepare_trainer(folder, trial, audio, context, online)
    with Recorder(folder, steps, done=_count_steps(saved)) as recorder:

        def on_masks(step: int, batch: MaskedBatch) -> None:
            recorder.add_image(step, lambda: paint(batch.batch.mels[0], batch.mask, grid))

        try:
            check = ShareCheck(trial, audio)
            reporter = _Reporter(recorder, attempt, steps, context.emit, check, warnings)
            result = trainer.train(
                saved, on_metrics=reporter.on_metrics, on_masks=on_masks, on_step=reporter.on_step
            )
        except PausedError:
            rung = folder / RUNGS / str(context.until)
            save_encoder(rung, trainer.jepa.probed_encoder, audio)
            return rung
    jepa = trainer.jepa
    attempt.record_training(
        cost=_summarize_cost(result, context.device),
        metrics=_summarize_metrics(result),
        collapsed=result.collapsed,
        warnings=[*warnings, *result.warnings],
        precision=trial.optimizer.precision,
        attention=result.attention,
        ranks=context.ranks.count,
        parameters=ParameterCounts(**count_parameters(jepa.encoder, jepa.predictor)),
    )
    save_encoder(folder, jepa.probed_encoder, audio)
    trainer.checkpoints.delete()
    return folder


class _Reporter:
    """Records metrics, and reports progress with them and at most once a second between them."""

    def __init__(
        self,
        recorder: Recorder,
        attempt: RunAttempt,
        steps: int,
        emit: Emit,
        check: ShareCheck,
        warnings: list[str],  # a warning of the check is added
    ) -> None:
        self._recorder = recorder
        self._attempt = attempt
        self._steps = steps
        self._emit = emit
        self._check = check
        self._warnings = warnings
        self._label = "train"
        self._loss: float | None = None
        self._reported = -math.inf  # time of the last report

    def on_metrics(self, metrics: TrainingMetrics | None, result: ProbeResult | None) -> None:
        self._attempt.check_latest()  # before anything is written
        self._recorder.write(metrics, result)
        if result is not None:
            self._label = f"train, online score {result.score:.1f} at {result.step}"
        if metrics is not None:
            if warning := self._check.find_warning(metrics):
                self._warnings.append(warning)
                self._label = f"train; warning: {warning}"
            self._loss = round_off(metrics.loss)
            self._report(metrics.step)

    def on_step(self, step: int) -> None:
        """Reports a step with the last known loss."""
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self._report(step)

    def _report(self, step: int) -> None:
        self._reported = time.monotonic()
        self._emit(
            ProgressMessage(label=self._label, done=step, total=self._steps, loss=self._loss)
        )


def train_helper_rank(folder: Path, trial: Trial, audio: AudioData, context: RunContext) -> None:
    """Trains as another of the ranks, from the checkpoint that the first rank reads.

    Raises what ends a training early, and `PausedError` at the step `context.until`.
    """
    trainer, saved, _ = _prepare_trainer(folder, trial, audio, context)
    trainer.train(saved)


def _prepare_trainer(
    folder: Path,
    trial: Trial,
    audio: AudioData,
    context: RunContext,
    online: OnlineProbe | None = None,
) -> tuple[Trainer, dict[str, Any] | None, list[str]]:
    """Builds a trainer; returns it with the checkpoint to resume from, and warnings about others.

    Raises `ValueError` if ranks cannot share a batch, or would resume from different steps.
    """
    device, ranks = context.device, context.ranks
    if ranks.count > (1 if trial.coupling else trial.budget.batch):
        raise ValueError(
            f"{ranks.count} ranks cannot share batches of {trial.budget.batch} clips with "
            f"{trial.coupling or type(trial.objective).__name__}; train with fewer"
        )
    if device.type == "cuda":
        # peak memory can be reset only once CUDA is initialised
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
        if trial.optimizer.precision == "fp32":
            logger.warning(
                "training in fp32 leaves the tensor cores of %s idle; set `precision: bf16` in "
                "`optimizer`, as the recipes do",
                torch.cuda.get_device_name(device),
            )
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    saved, warnings = checkpoints.load()
    steps = ranks.all_gather([_count_steps(saved)])
    if any(step != steps[0] for step in steps):
        raise ValueError(f"the ranks see different checkpoints, {steps}; do they share a disk?")
    scale = trial.describe_input(audio.normaliser) if trial.has_views else None
    trainer = build_trainer(
        trial, audio.build_loader(trial), device, ranks, checkpoints, context.stop, scale
    )
    return (
        dataclasses.replace(trainer, pause_step=context.until, online_probe=online),
        saved,
        warnings,
    )


def build_trainer(
    trial: Trial,
    loader: BatchSource,
    device: torch.device,
    ranks: Ranks,
    checkpoints: Checkpoints,
    stop: StopSignal,
    scale: InputScale | None = None,
) -> Trainer:
    """Builds what trains a trial's model on the batches of a loader.

    `scale` says what the values of the batches mean; by default that they were not normalised.
    """
    jepa = trial.build_jepa().to(device)
    drawer = BatchDrawer(
        loader=loader,
        patchifier=trial.patchifier,
        grid=trial.grid,
        masker=trial.masker,
        batching=trial.batching,
        budget=trial.budget,
        seed=trial.get_seed("order"),
        mask_seed=trial.get_seed("masks"),
        device=device,
        jepa=jepa,
        objective=trial.objective,
        precision=trial.optimizer.precision,
        view=trial.view,
        target_view=trial.target_view,
        symmetric=trial.symmetric,
        input_scale=scale or trial.describe_input(Normaliser.identity(trial.mel.bands)),
        prefetch=device.type == "cuda",  # a CPU that draws is one that does not learn
    )
    return Trainer(
        jepa=jepa,
        drawer=drawer,
        objective=trial.objective,
        regulariser=trial.regulariser,
        budget=trial.budget,
        optimizer=trial.optimizer,
        batching=trial.batching,
        on_collapse=trial.on_collapse,
        hop_seconds=trial.mel.hop_seconds,
        device=device,
        ranks=ranks,
        checkpoints=checkpoints,
        stop=stop,
    )


def _count_steps(saved: dict[str, Any] | None) -> int:
    return saved["cost"]["steps"] if saved else 0


def _summarize_cost(result: TrainingResult, device: torch.device) -> RunCost:
    cost: dict[str, Any] = dataclasses.asdict(result.cost)
    cost["audio_hours"] = cost.pop("audio_seconds") / 3600
    cost["peak_memory_mb"] = _peak_memory(device) / 2**20
    rounded: dict[str, Any] = {name: round_off(value) for name, value in cost.items()}
    return RunCost(**rounded)


def _summarize_metrics(result: TrainingResult) -> RunMetrics:
    last, cost, history = result.last, result.cost, result.probe_history
    metrics = {
        "loss": last.loss,
        "position_loss": last.position_loss,
        "effective_rank": last.effective_rank,
        "effective_rank_init": result.start.effective_rank,
        "feature_std": last.feature_std,
        "context_fraction": cost.context_tokens / cost.valid_tokens,
        "target_fraction": cost.target_tokens / cost.valid_tokens,
        "fallback_fraction": cost.fallbacks / cost.masks,
        "tokens_per_second": (cost.context_tokens + cost.target_tokens) / cost.seconds,
    }
    metrics |= {"lidar": last.lidar} if last.lidar is not None else {}
    metrics |= {"ema_gap": last.ema_gap} if last.ema_gap is not None else {}
    if history.first is not None and history.last is not None:
        metrics["online_score_init"] = history.first
        metrics["online_score"] = history.last
        metrics["online_seconds"] = history.seconds
    return RunMetrics(**{name: round_off(value) for name, value in metrics.items()})


def _peak_memory(device: torch.device) -> int:
    """Returns bytes; on a CPU, those of the process, which may have run other trials before."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
