"""Tests on a real SLURM that status and squeue agree while a study is submitted and cancelled."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ablate.cli.main import app
from ablate.slurm import commands
from tests.slurm.conftest import empty_queue, wait_until
from tests.slurm.test_slurm_study import ROOT, SHRUNK

ROUNDS = 5
PATTERN = re.compile(r"job (\d+_\d+) [A-Z]")


def ablate(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def submit(*options: str) -> str:
    return ablate("run", "studies/masking.yaml", *SHRUNK, "--slurm", "testcluster", *options)


def list_tasks() -> set[str]:
    """Lists the queued tasks of arrays according to squeue."""
    lines = commands.run_command(["squeue", "-h", "-r", "-o", "%i %T"]).splitlines()
    return {job for job, state in map(str.split, lines) if "_" in job and state != "COMPLETING"}


@pytest.fixture
def _workdir(site, tmp_path, monkeypatch):
    empty_queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm")
    with Path("slurm/testcluster.yaml").open("a") as profile:
        profile.write("sbatch: {begin: now+900}\n")  # such jobs stay in the queue
    yield
    empty_queue()


@pytest.mark.usefixtures("_workdir")
def test_status_and_squeue_agree_through_rounds_of_submit_dry_run_and_cancel():
    for round_ in range(ROUNDS):
        submit()
        tasks = list_tasks()
        assert tasks, f"round {round_}"
        assert set(PATTERN.findall(ablate("status", "masking"))) == tasks
        submit("--dry-run", "budget.steps=50")
        assert set(PATTERN.findall(ablate("status", "masking"))) == tasks
        assert "and 1 canaries" in ablate("cancel", "masking", "--yes")
        wait_until(lambda: commands.run_command(["squeue", "-h", "-o", "%i"]) == "")
        assert PATTERN.findall(ablate("status", "masking")) == []
        assert "no run has failed" in ablate("retry", "masking")
