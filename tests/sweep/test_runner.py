"""Heartbeats of a sweep runner."""

import sqlite3
import time
from pathlib import Path

import pytest

from ablate.config.search_space import read_space
from ablate.config.sweep import Sweep
from ablate.config.tree import from_plain
from ablate.runs.store import Folders
from ablate.sweep import runner
from ablate.sweep.heartbeat import SweepProcess
from tests.plans import make_plan

SPACE = read_space(from_plain({"rate": {"low": 0.0, "high": 1.0}}, "study.yaml"))
PLAN = make_plan()
TIMEOUT = 30.0  # seconds
HEARTBEATS = "study_system_attributes"


def test_heartbeats_continue_after_the_database_was_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(runner, "SweepProcess", lambda: SweepProcess(interval=0.0))
    file = tmp_path / "sweep.db"
    sweep = Sweep(space=SPACE, storage=f"sqlite:///{file}")
    combinations = [runner.Combination({}, from_plain({}, "study.yaml"), SPACE, "a search")]
    folders, journal = Folders(tmp_path / "runs", tmp_path, tmp_path), tmp_path / "journal"
    with runner.SweepRunner(sweep, PLAN, combinations, folders, journal).heartbeat():
        assert counter_rises(file)
        execute(file, f"ALTER TABLE {HEARTBEATS} RENAME TO away")
        time.sleep(0.2)  # during which heartbeats fail
        execute(file, f"ALTER TABLE away RENAME TO {HEARTBEATS}")
        assert counter_rises(file)


def execute(file: Path, command: str) -> list[tuple[str]]:
    database = sqlite3.connect(file, timeout=TIMEOUT)
    rows = database.execute(command).fetchall()
    database.commit()
    database.close()
    return rows


def counter_rises(file: Path) -> bool:
    """Waits until the counter of the process changes."""
    select = f"SELECT value_json FROM {HEARTBEATS} WHERE key LIKE 'beat %'"
    before, deadline = execute(file, select), time.monotonic() + TIMEOUT
    while (same := execute(file, select) == before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not same
