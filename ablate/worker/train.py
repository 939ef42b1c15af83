"""Trains a trial in its run folder, from its last checkpoint if it has one."""

import dataclasses
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from ablate.mask_analysis.pictures import paint
from ablate.runs.record import RunState
from ablate.training.batches import Batches, Drawn
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.metrics import Log
from ablate.training.online_probe import Course, Online, Standing
from ablate.training.recorder import Record, round_off
from ablate.training.signals import PausedError, Stop
from ablate.training.trainer import OnLog, Outcome, Trainer
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
    online: Online | None = None,
) -> Path:
    """Trains a trial as the first of its ranks, which alone writes files and is looked at.

    Returns where its encoder lies: in the run's folder, or beside it where training paused, at
    the step `session.until`. What it cost is written down before its encoder is: the encoder says
    that it is trained. Raises what ends a training early: `StoppedError`, `DivergedError`,
    `CollapsedError`, and `SupersededError` once another process has taken the run over.
    """
    grid, steps = trial.twin.grid, trial.budget.steps
    trainer, saved, warnings = _trainer(folder, trial, sound, session, online)
    with Record(folder, steps, done=_done(saved)) as record:

        def on_mask(step: int, drawn: Drawn) -> None:
            record.picture(step, lambda: paint(drawn.batch.mels[0], drawn.mask, grid))

        try:
            on_log = _reporter(record, state, steps, session.emit)
            outcome = trainer.train(saved, on_log=on_log, on_mask=on_mask)
        except PausedError:
            aside = folder / RUNGS / str(session.until)
            save_encoder(aside, trainer.jepa.probed, sound)
            return aside
    jepa = trainer.jepa
    state.facts |= {
        **_summary(outcome, session.device),
        "warnings": [*warnings, *outcome.warnings],
        "precision": trial.optimizer.precision,
        "ranks": session.ranks.count,
        "parameters": num_parameters(jepa.encoder, jepa.predictor),
    }
    state.put("running")
    save_encoder(folder, jepa.probed, sound)
    trainer.checkpoints.drop()
    return folder


def _reporter(record: Record, state: RunState, steps: int, emit: Emit) -> OnLog:
    """Returns what writes down how a training fares, and tells whoever watches."""
    label = "train"

    def on_log(log: Log | None, standing: Standing | None) -> None:
        nonlocal label
        state.check()  # before anything is written
        record.write(log, standing)
        if standing is not None:
            label = f"train, online score {standing.score:.1f} at {standing.step}"
        if log is not None:
            progress = {"event": "progress", "label": label, "done": log.step, "total": steps}
            emit({**progress, "loss": round_off(log.loss)})

    return on_log


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
    online: Online | None = None,
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
    found = ranks.gather([_done(saved)])
    if any(step != found[0] for step in found):
        raise ValueError(f"the ranks see different checkpoints, {found}; do they share a disk?")
    trainer = trainer_of(trial, sound.loader(trial), device, ranks, checkpoints, session.stop)
    return dataclasses.replace(trainer, until=session.until, online=online), saved, warnings


def trainer_of(
    trial: Trial,
    loader: Batches,
    device: torch.device,
    ranks: Ranks,
    checkpoints: Checkpoints,
    stop: Stop,
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
        ahead=device.type == "cuda",  # a CPU that draws is one that does not learn
    )


def _done(saved: dict[str, Any] | None) -> int:
    return saved["cost"]["steps"] if saved else 0


def _summary(outcome: Outcome, device: torch.device) -> dict[str, Any]:
    last, cost = outcome.last, dataclasses.asdict(outcome.cost)
    cost["audio_hours"] = cost.pop("audio_seconds") / 3600
    cost["peak_memory_mb"] = _peak_memory(device) / 2**20
    trained = cost["context_tokens"] + cost["target_tokens"]
    metrics = {
        "loss": last.loss,
        "position_loss": last.position_loss,
        "effective_rank": last.effective_rank,
        "effective_rank_init": outcome.start.effective_rank,
        "feature_std": last.feature_std,
        "context_fraction": cost["context_tokens"] / cost["valid_tokens"],
        "target_fraction": cost["target_tokens"] / cost["valid_tokens"],
        "fallback_fraction": cost["fallbacks"] / cost["masks"],
        "tokens_per_second": trained / cost["seconds"],
        **_online(outcome.course),
    }
    return {
        "cost": {name: round_off(value) for name, value in cost.items()},
        "metrics": {name: round_off(value) for name, value in metrics.items()},
        "collapsed": outcome.collapsed,
    }


def _online(course: Course) -> dict[str, float]:
    """Says how the online probe found the encoder first and last, if it looked from the start."""
    if course.first is None or course.last is None:
        return {}
    return {
        "online_score_init": course.first,
        "online_score": course.last,
        "online_seconds": course.seconds,
    }


def _peak_memory(device: torch.device) -> int:
    """Bytes; on a CPU those of the process, which may have run other trials before."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
