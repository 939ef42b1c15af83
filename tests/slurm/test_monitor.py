"""Whoever waits for a run is told when nobody runs it."""

import time
from pathlib import Path

from ablate.core.io import write_json
from ablate.slurm.monitor import Vigil


def elsewhere(folder: Path) -> Path:
    write_json(folder / "run.json", {"state": "running", "host": "another machine"})
    (folder / "heartbeat").write_text("1\n")
    return folder


def test_a_run_whose_machine_has_died_is_not_waited_for(tmp_path: Path) -> None:
    vigil = Vigil(0.2)
    folder = elsewhere(tmp_path / "run")
    assert not vigil.look([folder])
    time.sleep(0.3)
    assert vigil.look([folder])
    assert vigil.is_over


def test_a_run_whose_heart_beats_on_another_machine_is_waited_for(tmp_path: Path) -> None:
    vigil = Vigil(0.2)
    folder = elsewhere(tmp_path / "run")
    assert not vigil.look([folder])
    time.sleep(0.3)
    (folder / "heartbeat").write_text("2\n")
    assert not vigil.look([folder])
