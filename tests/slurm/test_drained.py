"""Tests that jobs can be submitted while no node takes any, with scripted SLURM commands."""

import os
from pathlib import Path

import pytest

from ablate.slurm.commands import UNAVAILABLE, SlurmError, check_submission
from tests.slurm.fake_slurm import write_commands


def write_job(folder: Path, monkeypatch: pytest.MonkeyPatch, states: str, message: str) -> Path:
    """Writes a job that sbatch refuses, and commands that show nodes in some states."""
    sbatch = f"echo 'allocation failure: {message}' >&2; exit 1"
    sinfo = f'[ "$2 $3" = "--partition cpu" ] || exit 1; printf "{states}\\n"'
    commands = write_commands(folder, {"sbatch": sbatch, "sinfo": sinfo})
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    script = folder / "job.sbatch"
    script.write_text("#!/bin/bash\n#SBATCH --partition=cpu\n")
    return script


def test_a_drained_cluster_is_no_reason_to_refuse_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_submission(write_job(tmp_path, monkeypatch, r"drain\ndown*\nmaint", UNAVAILABLE))


@pytest.mark.parametrize(
    ("states", "message"),
    [(r"drain\nidle", UNAVAILABLE), ("", UNAVAILABLE), ("drain", "Invalid account")],
)
def test_every_other_refusal_of_sbatch_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, states: str, message: str
) -> None:
    with pytest.raises(SlurmError, match=message):
        check_submission(write_job(tmp_path, monkeypatch, states, message))
