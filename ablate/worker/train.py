"""Trains a trial in its run folder, from its last checkpoint if it has one."""

import dataclasses
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from ablate.mask_analysis.pictures import paint
from ablate.runs.record import RunState
from ablate.training.batches import BatchSource, MaskedBatch
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.metrics import TrainingMetrics
from ablate.training.online_probe import OnlineProbe, ProbeHistory, ProbeResult
from ablate.training.recorder import Recorder, round_off
from ablate.training.signals import PausedError, StopSignal
from ablate.training.state import TrainingResult
from ablate.training.trainer import OnMetrics, Trainer
from ablate.worker.context import RunContext
from ablate.worker.datasets import Emit
from ablate.worker.evaluate import save_encoder
from ablate.worker.trial import Sound, Trial, num_parameters

CHECKPOINTS = "checkpoints"
RUNGS = "rungs"  # encoders of earlier steps, by step, each with its scores


def train(
    folder: Path,
    trial: Trial,
    sound: Sound,
    session: RunContext,
    state: RunState,
    online: OnlineProbe | None = None,
) -> Path:
    """Trains a trial as the first of its ranks, which alone writes files and is looked at.

    Returns where its encoder lies: in the run's folder, or beside it where training paused, at
    the step `session.until`. What it cost is written down before its encoder is: the encoder says
    that it is trained. Raises what ends a training early: `StoppedError`, `DivergedError`,
    `CollapsedError`, and `SupersededError` once another process has taken the run over.
    """
    grid, steps = trial.twin.grid, trial.budget.steps
    trainer, saved, warnings = _trainer(folder, trial, sound, session, online)
    with Recorder(folder, steps, done=_done(saved)) as recorder:

        def on_masks(step: int, batch: MaskedBatch) -> None:
            recorder.add_image(step, lambda: paint(batch.batch.mels[0], batch.mask, grid))

        try:
            on_metrics = _reporter(recorder, state, steps, session.emit)
            result = trainer.train(saved, on_metrics=on_metrics, on_masks=on_masks)
        except PausedError:
            aside = folder / RUNGS / str(session.until)
            save_encoder(aside, trainer.jepa.probed_encoder, sound)
            return aside
    jepa = trainer.jepa
    state.facts |= {
        **_summary(result, session.device),
        "warnings": [*warnings, *result.warnings],
        "precision": trial.optimizer.precision,
        "ranks": session.ranks.count,
        "parameters": num_parameters(jepa.encoder, jepa.predictor),
    }
    state.put("running")
    save_encoder(folder, jepa.probed_encoder, sound)
    trainer.checkpoints.delete()
    return folder


def _reporter(recorder: Recorder, state: RunState, steps: int, emit: Emit) -> OnMetrics:
    """Returns what writes down how a training fares, and tells whoever watches."""
    label = "train"

    def on_metrics(metrics: TrainingMetrics | None, result: ProbeResult | None) -> None:
        nonlocal label
        state.check()  # before anything is written
        recorder.write(metrics, result)
        if result is not None:
            label = f"train, online score {result.score:.1f} at {result.step}"
        if metrics is not None:
            progress = {"event": "progress", "label": label, "done": metrics.step, "total": steps}
            emit({**progress, "loss": round_off(metrics.loss)})

    return on_metrics


def train_helper_rank(folder: Path, trial: Trial, sound: Sound, session: RunContext) -> None:
    """Trains along as another of the ranks, from the checkpoint that the first one reads.

    Raises what ends a training early, `PausedError` at the step `session.until` too.
    """
    trainer, saved, _ = _trainer(folder, trial, sound, session)
    trainer.train(saved)


def _trainer(
    folder: Path,
    trial: Trial,
    sound: Sound,
    session: RunContext,
    online: OnlineProbe | None = None,
) -> tuple[Trainer, dict[str, Any] | None, list[str]]:
    """Builds a trainer; returns it with the state to go on from, and what is wrong with others.

    Raises `ValueError` where ranks cannot share a batch, or would go on from different steps.
    """
    device, ranks = session.device, session.ranks
    if ranks.count > (1 if trial.coupling else trial.budget.batch):
        raise ValueError(
            f"{ranks.count} ranks cannot share batches of {trial.budget.batch} clips with "
            f"{trial.coupling or type(trial.objective).__name__}; train with fewer"
        )
    if device.type == "cuda":
        # counting memory needs it, and nothing before does it
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    saved, warnings = checkpoints.load()
    found = ranks.all_gather([_done(saved)])
    if any(step != found[0] for step in found):
        raise ValueError(f"the ranks see different checkpoints, {found}; do they share a disk?")
    trainer = trainer_of(trial, sound.loader(trial), device, ranks, checkpoints, session.stop)
    return (
        dataclasses.replace(trainer, pause_step=session.until, online_probe=online),
        saved,
        warnings,
    )


def trainer_of(
    trial: Trial,
    loader: BatchSource,
    device: torch.device,
    ranks: Ranks,
    checkpoints: Checkpoints,
    stop: StopSignal,
) -> Trainer:
    """Builds what trains a trial's model on the batches of a loader."""
    return Trainer(
        jepa=trial.build_jepa().to(device),
        loader=loader,
        patchifier=trial.patchifier,
        grid=trial.twin.grid,
        masker=trial.masker,
        objective=trial.objective,
        regulariser=trial.regulariser,
        budget=trial.budget,
        optimizer=trial.optimizer,
        batching=trial.batching,
        on_collapse=trial.on_collapse,
        seed=trial.seed,
        hop_seconds=trial.mel.hop_seconds,
        device=device,
        ranks=ranks,
        checkpoints=checkpoints,
        stop=stop,
        prefetch=device.type == "cuda",  # a CPU that draws is one that does not learn
    )


def _done(saved: dict[str, Any] | None) -> int:
    return saved["cost"]["steps"] if saved else 0


def _summary(result: TrainingResult, device: torch.device) -> dict[str, Any]:
    last, cost = result.last, dataclasses.asdict(result.cost)
    cost["audio_hours"] = cost.pop("audio_seconds") / 3600
    cost["peak_memory_mb"] = _peak_memory(device) / 2**20
    trained = cost["context_tokens"] + cost["target_tokens"]
    metrics = {
        "loss": last.loss,
        "position_loss": last.position_loss,
        "effective_rank": last.effective_rank,
        "effective_rank_init": result.start.effective_rank,
        "feature_std": last.feature_std,
        "context_fraction": cost["context_tokens"] / cost["valid_tokens"],
        "target_fraction": cost["target_tokens"] / cost["valid_tokens"],
        "fallback_fraction": cost["fallbacks"] / cost["masks"],
        "tokens_per_second": trained / cost["seconds"],
        **_online(result.probe_history),
    }
    return {
        "cost": {name: round_off(value) for name, value in cost.items()},
        "metrics": {name: round_off(value) for name, value in metrics.items()},
        "collapsed": result.collapsed,
    }


def _online(history: ProbeHistory) -> dict[str, float]:
    """Says how the online probe found the encoder first and last, if it looked from the start."""
    if history.first is None or history.last is None:
        return {}
    return {
        "online_score_init": history.first,
        "online_score": history.last,
        "online_seconds": history.seconds,
    }


def _peak_memory(device: torch.device) -> int:
    """Bytes; on a CPU those of the process, which may have run other trials before."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
