"""Plans trials, creates their run folders and runs them in this process, as a worker does."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ablate.core.records.messages import ProgressMessage, RunReply
from ablate.core.records.metrics_log import METRICS_FILE, read_rows
from ablate.core.records.plan import EvaluatePlan
from ablate.core.records.planning import PlanReply, PlanRequest, ResolvedRun, ResolvedTrial
from ablate.runs.store import write_config
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from ablate.worker.validation import validate


def create_settings() -> dict[str, Any]:
    """Creates the settings of a trial that trains in seconds."""
    return {
        "data": {
            "type": "ablate.audio.synthetic.Synthetic",
            "clips_per_class": 2,
            "valid_per_class": 1,
            "test_per_class": 1,
        },
        "mel": {"type": "ablate.audio.mel.LogMel", "bands": 32},
        "crop_frames": 64,
        "patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 16, "time": 16},
        "masker": {"type": "maskers.MultiBlock"},
        "encoder": {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2},
        "predictor": {"type": "ablate.model.predictor.Joint", "dim": 16, "layers": 1, "heads": 2},
        "objective": {"type": "ablate.model.objectives.SmoothL1"},
        "budget": {"steps": 60, "batch": 4},
        "seed": 0,
    }


def ignore(message: ProgressMessage) -> None:
    """Ignores a progress message."""


def plan_trials(
    trials: Sequence[dict[str, Any]],
    probes: Mapping[str, dict[str, Any]],
    cache: Path,
    emit: Callable[[ProgressMessage], None] = ignore,
    **fields: Any,
) -> PlanReply:
    """Validates trials; `fields` are further ones of the request."""
    request = PlanRequest(trials=tuple(trials), probes=dict(probes), **fields)
    return validate(request, cache, emit)


def plan_trial(
    settings: dict[str, Any],
    cache: Path,
    probes: Mapping[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> ResolvedTrial:
    """Validates one trial, which must have no problem."""
    [trial] = plan_trials([settings], probes or {}, cache, **fields).get_resolved()
    return trial


def create_run_folder(parent: Path, config: ResolvedRun | ResolvedTrial) -> Path:
    """Creates the folder of a run in `parent`, with its `config.json`."""
    folder = parent / config.fingerprint
    write_config(folder, kind=config.kind, settings=config.settings)
    return folder


def create_context(
    cache: Path,
    *,
    emit: Callable[[ProgressMessage], None] = ignore,
    stop: StopSignal | None = None,
    until: int | None = None,
) -> RunContext:
    """Creates the context of a run on the CPU."""
    return RunContext(torch.device("cpu"), cache, emit, stop or StopSignal(), until=until)


def run_folder(
    folder: Path,
    cache: Path,
    probes: Mapping[str, Any] | None = None,
    *,
    evaluate: EvaluatePlan | None = None,
    **context: Any,
) -> RunReply:
    """Runs what is missing in a folder; `context` are arguments of `create_context`."""
    return run(folder, probes or {}, create_context(cache, **context), evaluate)


def read_run_json(folder: Path) -> dict[str, Any]:
    """Reads the record of a run as plain data."""
    record: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return record


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Reads the lines of a run's `metrics.jsonl`."""
    return read_rows(folder / METRICS_FILE)


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Loads the weights and statistics of a trained encoder."""
    return load_file(folder / "encoder.safetensors")


def have_same_weights(first: Path, second: Path) -> bool:
    """Checks whether the encoders of two runs are equal bit by bit."""
    one, other = load_weights(first), load_weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
