"""Tests of the timeout that detects that no process works on a run."""

import time
from pathlib import Path

from ablate.core.records.run import Heartbeat
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.slurm.monitor import IdleTimeout
from tests.run_folders import write_record


def create_remote_run(folder: Path) -> Path:
    Heartbeat(count=1).write(folder / HEARTBEAT_FILE)
    return write_record(folder, "running", host="another machine")


def test_a_run_whose_machine_has_died_is_not_waited_for(tmp_path: Path) -> None:
    timeout = IdleTimeout(0.2)
    folder = create_remote_run(tmp_path / "run")
    assert not timeout.update([folder])
    time.sleep(0.3)
    assert timeout.update([folder])
    assert timeout.has_expired


def test_a_run_whose_heartbeat_rises_on_another_machine_is_waited_for(tmp_path: Path) -> None:
    timeout = IdleTimeout(0.2)
    folder = create_remote_run(tmp_path / "run")
    assert not timeout.update([folder])
    time.sleep(0.3)
    Heartbeat(count=2).write(folder / HEARTBEAT_FILE)
    assert not timeout.update([folder])
