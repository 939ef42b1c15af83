"""What a process with searches does beside trying points."""

import sqlite3
import time
from pathlib import Path

import pytest

from ablate.config.search_space import read_space
from ablate.config.sweep import Sweep
from ablate.config.tree import from_plain
from ablate.runs.store import Folders
from ablate.sweep import runner
from ablate.sweep.heartbeat import Presence

SPACE = read_space(from_plain({"rate": {"low": 0.0, "high": 1.0}}, "here"))
PLAN = {"probes": {"knn": {}}, "score": {"probe": "knn", "pooling": "mean"}}
BOUND = 30.0  # seconds, in which a beat every hundredth of one is seen
BEATS = "study_system_attributes"


def test_beats_go_on_after_the_database_was_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(runner, "Presence", lambda: Presence(every=0.0))
    file = tmp_path / "sweep.db"
    sweep = Sweep(space=SPACE, storage=f"sqlite:///{file}")
    found = [runner.Combination({}, from_plain({}, "here"), SPACE, "a search")]
    folders = Folders(tmp_path / "runs", tmp_path, tmp_path)
    with runner.Desk(sweep, PLAN, found, folders, tmp_path / "journal").beating():
        assert beats_rise(file)
        run(file, f"ALTER TABLE {BEATS} RENAME TO away")
        time.sleep(0.2)  # in which some beats fail
        run(file, f"ALTER TABLE away RENAME TO {BEATS}")
        assert beats_rise(file)


def run(file: Path, command: str) -> list[tuple[str]]:
    database = sqlite3.connect(file, timeout=BOUND)
    found = database.execute(command).fetchall()
    database.commit()
    database.close()
    return found


def beats_rise(file: Path) -> bool:
    """Waits until the count that shows that a process lives is another."""
    ask = f"SELECT value_json FROM {BEATS} WHERE key LIKE 'beat %'"
    before, deadline = run(file, ask), time.monotonic() + BOUND
    while (same := run(file, ask) == before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not same
