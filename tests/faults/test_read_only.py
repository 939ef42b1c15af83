"""Tests that commands which only read write nothing into the folder of runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from ablate.runs.lock import acquire_run, is_locked
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.run_folders import write_record
from tests.study.conftest import STUDY

ROOT = Path(__file__).parents[2]
AUDITED = """\
import os, sys

def refuse(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    else:
        path, writes = (arguments or ("",))[0], event in CHANGES
    if writes and isinstance(path, str) and os.path.abspath(path).startswith(RUNS):
        raise PermissionError(13, f"{event} writes", path)

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.utime")
RUNS = os.path.abspath("runs")
sys.addaudithook(refuse)
"""
STATUS = """\
from ablate.cli.main import app
app(["status", "masking"])
"""
PLAN = """\
from pathlib import Path
from ablate.study import run
from tests.executors.stand_in import STAND_IN
sys.exit(run.plan_study(Path("study.yaml"), command=STAND_IN))
"""
REPORT = """\
from ablate.study import run
sys.exit(run.report_saved_plan("masking", force=True))  # fewer trials count as finished than before
"""


@pytest.mark.parametrize("command", [STATUS, PLAN, REPORT], ids=["status", "plan", "report"])
def test_a_colleagues_runs_are_read_without_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    assert study.run_study(Path("study.yaml"), workers=1, command=STAND_IN) == study.DONE
    for path in list(Path("runs").glob("*/run.json")):
        write_record(path.parent, "running")  # such a run is tested for its lock
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = subprocess.run(
        [sys.executable, "-c", AUDITED + command], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr + process.stdout


def test_a_run_is_locked_only_while_a_process_works_on_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with acquire_run(tmp_path) as acquired:
        assert acquired
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
