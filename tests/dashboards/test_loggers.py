"""What runs record is copied to experiment trackers, each step once."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ablate.core.records.metrics_log import format_line
from ablate.core.records.plan import StudyPlan
from ablate.dashboards.loggers.logger import LOGGERS, AbstractLogger, LoggedRun
from ablate.dashboards.loggers.sync import sync_study
from ablate.runs import store
from tests.report.conftest import StudyBuilder

ROOT = Path(__file__).parents[2]
STEPS = (100, 200)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPlan:
    """A study of two finished runs with metrics of two steps, in the working folder."""
    monkeypatch.chdir(tmp_path)
    builder = StudyBuilder(tmp_path, factors={"masker": ["random", "block"]}, seeds=(0,))
    plan = builder.build()
    plan.write(plan.file_in(tmp_path / "reports"))
    for trial in plan.trials:
        rows = [{"step": step, "loss": 1 / step, "online_scores": {"esc": 9}} for step in STEPS]
        text = "".join(map(format_line, rows))
        (builder.runs / trial.fingerprint / "metrics.jsonl").write_text(text)
    return plan


class ListLogger(AbstractLogger):
    """Keeps what it gets in a list."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def start(self, run: LoggedRun) -> None:
        self.lines.append(run.name)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.lines.append((step, *values))

    def finish(self, summary: Mapping[str, float], *, has_ended: bool) -> None:
        self.lines.append(has_ended)


def test_every_step_is_copied_once_also_while_a_run_goes_on(
    plan: StudyPlan, tmp_path: Path
) -> None:
    logger, folders = ListLogger(), store.get_folders()
    first = folders.runs / plan.trials[0].fingerprint
    record = first / "run.json"
    finished = record.read_text()
    record.write_text(json.dumps({**json.loads(finished), "state": "running"}))
    lines = (first / "metrics.jsonl").read_text().splitlines(keepends=True)
    (first / "metrics.jsonl").write_text(lines[0])
    assert sync_study(plan, folders, logger, tmp_path / "log") == 2
    values = ("train/loss", "online/esc")
    assert logger.lines[:3] == ["random, seed 0", (100, *values), False]
    assert logger.lines[3:] == ["block, seed 0", (100, *values), (200, *values), True]
    (first / "metrics.jsonl").write_text("".join(lines))
    record.write_text(finished)
    logger.lines.clear()
    assert sync_study(plan, folders, logger, tmp_path / "log") == 1
    assert logger.lines == ["random, seed 0", (200, *values), True]
    assert sync_study(plan, folders, logger, tmp_path / "log") == 0


def sync(name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ablate", "sync", "masking", "--to", name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def read_rows(database: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.parametrize("name", LOGGERS)
def test_a_tracker_keeps_the_runs_offline(plan: StudyPlan, name: str) -> None:
    library = LOGGERS[name][1]
    if importlib.util.find_spec(library) is None:
        assert f"{library} is not installed: pip install" in sync(name).stderr
        pytest.skip(f"{library} is not installed")
    done = sync(name)
    assert "copied 2 runs of masking" in done.stdout, done.stderr
    folder = Path("reports/masking/loggers") / name
    if name == "mlflow":
        steps = read_rows(folder / "mlflow.db", "select step from metrics where key = 'train/loss'")
        assert sorted(steps) == [(100,), (100,), (200,), (200,)]
    elif name == "trackio":
        steps = read_rows(folder / "masking.db", "select step from metrics")
        assert {(100,), (200,)} <= {*steps}
    else:
        runs = {path.name.split("-")[-1] for path in folder.glob("wandb/offline-run-*")}
        assert runs == {trial.fingerprint for trial in plan.trials}
    assert "copied 0 runs" in sync(name).stdout
