"""One run folder, from its `config.json` to *done*: training and scores, where they are missing.

The process that runs it is the only writer of `run.json` and of all that training leaves.
"""

import resource
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ablate.files import read_json
from ablate.parts import build
from ablate.pictures import paint
from ablate.training.checkpoint import Checkpoints
from ablate.training.meter import DivergedError, Log
from ablate.training.record import Record, round_off
from ablate.training.stopping import Stop, StoppedError
from ablate.training.trainer import Outcome, Trainer
from ablate.workshop.planning import Emit, build_probes
from ablate.workshop.scoring import ENCODER, save_encoder, score
from ablate.workshop.state import Ended, RunState
from ablate.workshop.subjects import (
    KINDS,
    Sound,
    Subject,
    Trial,
    fingerprint,
    num_parameters,
    open_sound,
)


def run(
    folder: Path,
    probes: Mapping[str, Any],
    device: torch.device,
    cache: Path,
    emit: Emit,
    stop: Stop,
) -> dict[str, Any]:
    """Runs what is missing in a run folder and says how it ended.

    Whatever a trial raises is written down in its `run.json` and returned as its reason: one
    failed trial does not stop a study.
    """
    config = read_json(folder / "config.json")
    state = RunState(folder, kind=config["kind"], device=str(device))
    trained = False
    try:
        subject = build(config["settings"], expect=KINDS[config["kind"]])
        sound = open_sound(subject.data, subject.mel, cache)
        _check_identity(folder, subject, sound)
        if isinstance(subject, Trial) and not (folder / ENCODER).exists():
            state.put("running")
            with stop.between_steps():
                train(folder, subject, sound, device, emit, stop, state)
            trained = True
        scored = score(folder, subject, build_probes(probes), sound, device, emit)
    except StoppedError as stopped:
        state.put("preempted", str(stopped))
        return {"state": "preempted", "reason": str(stopped)}
    except Exception as error:  # a trial's border: a stranger's part may raise anything
        reason = _reason(error)
        # a probe that fails takes nothing from what is trained, which other studies may share
        ended: Ended = "done" if (folder / ENCODER).exists() else "failed"
        state.put(ended, reason, details=traceback.format_exc())
        if isinstance(error, torch.AcceleratorError):
            raise SystemExit(1) from error  # no later trial can use this process's device
        return {"state": "failed", "reason": reason}
    except BaseException:  # told to stop
        state.put("cancelled", "stopped before it was done")
        raise
    state.put("done")
    return {"state": "done", "trained": trained, "probed": scored}


def _check_identity(folder: Path, subject: Subject, sound: Sound) -> None:
    """Refuses a folder whose settings lead to other sound or code than its name says."""
    found = fingerprint(subject, sound.store.digest)
    if found != folder.name:
        raise ValueError(
            f"`{folder.name}` was planned, but its config.json is now {found}: "
            "the sound or a part's version has changed since; plan the study again"
        )


def train(
    folder: Path,
    trial: Trial,
    sound: Sound,
    device: torch.device,
    emit: Emit,
    stop: Stop,
    state: RunState,
) -> None:
    """Trains a trial, from its last checkpoint if it has one.

    What it cost is written down before its encoder is: the encoder says that it is trained.
    """
    if device.type == "cuda":
        # counting memory needs it, and nothing before does it
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
    grid, steps = trial.twin.grid, trial.budget.steps
    jepa = trial.build_jepa().to(device)
    checkpoints = Checkpoints(folder / "checkpoints")
    saved, warnings = checkpoints.load(device)
    done = saved["cost"]["steps"] if saved else 0
    with Record(folder, steps, done=done) as record:

        def on_log(log: Log) -> None:
            record.log(log)
            progress = {"event": "progress", "label": "train", "done": log.step, "total": steps}
            emit({**progress, "loss": round_off(log.loss)})

        outcome = Trainer(
            jepa=jepa,
            loader=sound.loader(trial),
            patchifier=trial.patchifier,
            grid=grid,
            masker=trial.masker,
            objective=trial.objective,
            budget=trial.budget,
            optimizer=trial.optimizer,
            batching=trial.batching,
            seed=trial.seed,
            hop_seconds=sound.hop_seconds,
            device=device,
            checkpoints=checkpoints,
            stop=stop,
            on_log=on_log,
            on_mask=lambda step, batch, mask: record.picture(
                step, lambda: paint(batch.mels[0], mask, grid)
            ),
        ).train(saved)
    state.facts |= {
        **_summary(outcome, device),
        "warnings": warnings,
        "precision": trial.optimizer.precision,
        "parameters": num_parameters(jepa.encoder, jepa.predictor),
    }
    state.put("running")
    save_encoder(folder, jepa.probed, sound)
    checkpoints.drop()


def _summary(outcome: Outcome, device: torch.device) -> dict[str, Any]:
    last, cost = outcome.last, asdict(outcome.cost)
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
    }
    return {
        "cost": {name: round_off(value) for name, value in cost.items()},
        "metrics": {name: round_off(value) for name, value in metrics.items()},
        "collapsed": outcome.end.collapsed(outcome.start),
    }


def _peak_memory(device: torch.device) -> int:
    """Bytes; on a CPU those of the process, which may have run other trials before."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _reason(error: Exception) -> str:
    """Says in a line why a trial failed, its kind first."""
    kinds = {DivergedError: "nan", torch.OutOfMemoryError: "oom", MemoryError: "oom"}
    kind = next((word for found, word in kinds.items() if isinstance(error, found)), "error")
    words = str(error).strip().splitlines() or [""]
    return (
        f"{kind}: {words[0]}" if kind != "error" else f"error: {type(error).__name__}: {words[0]}"
    )
