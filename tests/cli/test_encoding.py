"""Tests that commands print to terminals that cannot show every character."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import STUDY

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_report_is_printed_in_any_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    assert study.run_study(Path("study.yaml"), workers=1, command=STAND_IN) == study.DONE
    environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ablate", "report", "masking"]
    process = subprocess.run(command, env=environ, capture_output=True)
    assert process.returncode == 0, process.stderr
    assert b"masking" in process.stdout
