"""The door to TensorBoard: a study's runs under readable names, and each variant's mean among them.

The folder that TensorBoard reads is derived: links to the runs, and curves that a worker writes.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.io import find_json
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.report.figures.metrics import Curve, read_curves
from ablate.report.results import Results, TrialResult, format_variant, get_levels, read_results
from ablate.report.stats.statistics import estimate_mean
from ablate.runs import store
from ablate.study.worker_query import Ask, errand

HOST = "127.0.0.1"
STOP_SECONDS = 10


def show(
    file: Path, overrides: Sequence[str] = (), *, port: int, command: Sequence[str] = COMMAND
) -> int:
    """Lays the study's runs out and serves them until interrupted; returns the exit code.

    Port 0 is any that is free.
    """
    console, folders = create_console(), store.get_folders()

    def act(ask: Ask) -> None:
        study = loader.load(file, overrides)
        plan = find_json(folders.reports / study.name / "plan.json")
        if plan is None:
            advice = f"run the study first: ablate run {file}"
            raise StudyError([f"{folders.reports / study.name} holds nothing yet; {advice}"])
        folder = (folders.reports / study.name / "tensorboard").absolute()
        ask({"do": "board", "folder": str(folder), "curves": _lay_out(plan, folders.runs, folder)})
        _serve(folder, study.name, _free(port), console)

    return errand(act, title="laying out curves", console=console, command=command)


def _lay_out(plan: Mapping[str, Any], runs: Path, folder: Path) -> list[dict[str, Any]]:
    """Links the runs by their names in `folder`, which is emptied first.

    Returns what a worker is to write beside them: each curve as `name`, `tag` and `points`, (step,
    value), and each trial as `name`, `settings` and `score` in percent.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    results = read_results(plan, runs)
    for trial in results.trials:
        records = (runs / (trial.fingerprint or "") / "tb").absolute()
        if records.is_dir():
            place = folder / _name(trial, results)
            place.mkdir()
            (place / "run").symlink_to(records, target_is_directory=True)
    means = [each for curve in read_curves(results, runs) for each in _band(curve, plan)]
    return [*means, *(_settings(trial, results) for trial in results.trials)]


def _band(curve: Curve, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the mean over seeds, and the ends of its interval where there is one."""
    mean, low, high = [], [], []
    runs = [dict(seed) for seed in curve.seeds]
    for step, _ in curve.mean:
        found = estimate_mean([run[step] for run in runs], alpha=plan["report"]["alpha"])
        mean.append((step, found.mean))
        if found.low is not None:
            low.append((step, found.low))
            high.append((step, found.high))
    tag, label = f"train/{curve.quantity}", _safe(format_variant(curve.levels))
    named = {"mean": mean, "mean, low end": low, "mean, high end": high}
    return [
        {"name": f"{label}, {name}", "tag": tag, "points": points}
        for name, points in named.items()
        if points
    ]


def _settings(trial: TrialResult, results: Results) -> dict[str, Any]:
    labels = dict(zip(results.factors, get_levels(trial, results.factors), strict=True))
    return {
        "name": _name(trial, results),
        "settings": {**labels, "seed": trial.seed},
        "score": trial.score,
    }


def _name(trial: TrialResult, results: Results) -> str:
    return _safe(f"{format_variant(get_levels(trial, results.factors))}, seed {trial.seed}")


def _safe(name: str) -> str:
    return name.replace(os.sep, "-")


def _free(port: int) -> int:
    """Returns a port that can be listened on. Raises `StudyError` where it cannot."""
    try:
        with socket.create_server((HOST, port)) as free:
            found: int = free.getsockname()[1]
    except OSError as error:
        problem = f"port {port} cannot be used ({error.strerror}); choose another: --port 0"
        raise StudyError([problem]) from error
    return found


def _serve(folder: Path, name: str, port: int, console: Console) -> None:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    # the fast loader follows no links
    options = ["--host", HOST, "--port", str(port), "--load_fast", "false"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    print_line(console, f"http://{HOST}:{port} shows {name}; Ctrl-C stops it")
    try:
        with suppress(KeyboardInterrupt):
            process.wait()
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
