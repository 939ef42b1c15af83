"""Whoever waits for a run is told when nobody runs it."""

import time
from pathlib import Path

from ablate.core.records.run import Heartbeat
from ablate.runs.heartbeat import HEARTBEAT_FILE
from ablate.slurm.monitor import Vigil
from tests.run_folders import write_record


def elsewhere(folder: Path) -> Path:
    Heartbeat(count=1).write(folder / HEARTBEAT_FILE)
    return write_record(folder, "running", host="another machine")


def test_a_run_whose_machine_has_died_is_not_waited_for(tmp_path: Path) -> None:
    vigil = Vigil(0.2)
    folder = elsewhere(tmp_path / "run")
    assert not vigil.look([folder])
    time.sleep(0.3)
    assert vigil.look([folder])
    assert vigil.is_over


def test_a_run_whose_heartbeat_rises_on_another_machine_is_waited_for(tmp_path: Path) -> None:
    vigil = Vigil(0.2)
    folder = elsewhere(tmp_path / "run")
    assert not vigil.look([folder])
    time.sleep(0.3)
    Heartbeat(count=2).write(folder / HEARTBEAT_FILE)
    assert not vigil.look([folder])
