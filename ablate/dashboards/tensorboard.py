"""Shows a study's runs in TensorBoard under readable names, with the mean curve of each variant.

The folder that TensorBoard reads is derived: it has links to the runs, and curves that a worker
writes.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.core.records.messages import TensorBoardEntry, TensorBoardRequest
from ablate.core.records.plan import StudyPlan, get_plan_file
from ablate.executors.progress import create_console, print_line
from ablate.executors.worker import COMMAND
from ablate.report.figures.metrics import Curve, read_curves
from ablate.report.results import Results, TrialResult, format_variant, get_levels, read_results
from ablate.report.stats.statistics import estimate_mean
from ablate.runs import store
from ablate.study.worker_query import Query, query_worker

HOST = "127.0.0.1"
STOP_SECONDS = 10  # for TensorBoard to exit before it is killed


def serve_tensorboard(
    file: Path, overrides: Sequence[str] = (), *, port: int, command: Sequence[str] = COMMAND
) -> int:
    """Links a study's runs and serves them until interrupted; returns the exit code.

    Port 0 is any free port.
    """
    console, folders = create_console(), store.get_folders()

    def run(query: Query) -> None:
        study = loader.load(file, overrides)
        plan = StudyPlan.find(get_plan_file(folders.reports, study.name))
        if plan is None:
            advice = f"run the study first: ablate run {file}"
            raise StudyError([f"{folders.reports / study.name} is empty; {advice}"])
        folder = (folders.reports / study.name / "tensorboard").absolute()
        entries = _link_runs(plan, folders.runs, folder)
        query(TensorBoardRequest(folder=folder, entries=tuple(entries)))
        _serve(folder, study.name, _find_port(port), console)

    return query_worker(run, title="writing curves", console=console, command=command)


def _link_runs(plan: StudyPlan, runs: Path, folder: Path) -> list[TensorBoardEntry]:
    """Links the runs in `folder`, which is emptied first, under readable names.

    Returns what a worker writes beside them: mean curves, and the settings and scores of trials.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    results = read_results(plan, runs)
    for trial in results.trials:
        records = (runs / (trial.fingerprint or "") / "tb").absolute()
        if records.is_dir():
            # files, not the folder: with the trial's score beside them they are one run
            link_folder = folder / _format_name(trial, results)
            link_folder.mkdir()
            for file in records.iterdir():
                (link_folder / file.name).symlink_to(file)
    means = [each for curve in read_curves(results, runs) for each in _compute_means(curve, plan)]
    return [*means, *(_describe_trial(trial, results) for trial in results.trials)]


def _compute_means(curve: Curve, plan: StudyPlan) -> list[TensorBoardEntry]:
    """Returns the mean over seeds, and the ends of its interval if there is one."""
    mean: list[tuple[int, float]] = []
    low: list[tuple[int, float]] = []
    high: list[tuple[int, float]] = []
    runs = [dict(seed) for seed in curve.seeds]
    for step, _ in curve.mean:
        estimate = estimate_mean([run[step] for run in runs], alpha=plan.report.alpha)
        if estimate.mean is not None:
            mean.append((step, estimate.mean))
        if estimate.low is not None and estimate.high is not None:
            low.append((step, estimate.low))
            high.append((step, estimate.high))
    tag, label = f"train/{curve.quantity}", _to_file_name(format_variant(curve.levels))
    curves = {"mean": mean, "mean, low end": low, "mean, high end": high}
    return [
        TensorBoardEntry(name=f"{label}, {name}", tag=tag, points=tuple(points))
        for name, points in curves.items()
        if points
    ]


def _describe_trial(trial: TrialResult, results: Results) -> TensorBoardEntry:
    labels = dict(zip(results.factors, get_levels(trial, results.factors), strict=True))
    return TensorBoardEntry(
        name=_format_name(trial, results),
        settings={**labels, "seed": trial.seed},
        score=trial.score,
    )


def _format_name(trial: TrialResult, results: Results) -> str:
    return _to_file_name(f"{format_variant(get_levels(trial, results.factors))}, seed {trial.seed}")


def _to_file_name(name: str) -> str:
    return name.replace(os.sep, "-")


def _find_port(port: int) -> int:
    """Returns `port`, or a free port for 0. Raises `StudyError` if it cannot be used."""
    try:
        with socket.create_server((HOST, port)) as server:
            number: int = server.getsockname()[1]
    except OSError as error:
        problem = f"port {port} cannot be used ({error.strerror}); choose another: --port 0"
        raise StudyError([problem]) from error
    return number


def _serve(folder: Path, name: str, port: int, console: Console) -> None:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]
    # the fast loader does not follow links; every file of a folder may still grow
    loading = ["--load_fast", "false", "--reload_multifile", "true"]
    options = ["--host", HOST, "--port", str(port), *loading]
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
