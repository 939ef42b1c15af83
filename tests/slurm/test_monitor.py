"""Tests of the timeout that detects that no process works on a run."""

from pathlib import Path

from ablate.core.records.run import Heartbeat
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.slurm.monitor import IdleTimeout
from tests.run_folders import write_record


class Clock:
    """A clock that stands still unless a test moves it."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def create_remote_run(folder: Path) -> Path:
    Heartbeat(count=1).write(folder / HEARTBEAT_FILE)
    return write_record(folder, "running", host="another machine")


def test_a_run_whose_machine_has_died_is_not_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    timeout = IdleTimeout(5, clock)
    folder = create_remote_run(tmp_path / "run")
    assert not timeout.update([folder])
    clock.seconds += 6
    assert timeout.update([folder])
    assert timeout.has_expired


def test_a_run_whose_heartbeat_rises_on_another_machine_is_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    timeout = IdleTimeout(5, clock)
    folder = create_remote_run(tmp_path / "run")
    assert not timeout.update([folder])
    clock.seconds += 6
    Heartbeat(count=2).write(folder / HEARTBEAT_FILE)
    assert not timeout.update([folder])
