"""Tests of arrays of jobs that run a command, such as sweep workers, with a scripted SLURM."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ablate.cli import inspect as cli_inspect
from ablate.cli.main import app
from ablate.config.snapshot import StudySnapshot
from ablate.core.records.jobs import CommandArray
from ablate.slurm import command_array
from ablate.slurm.commands import SlurmError
from ablate.slurm.profile import Profile
from tests.slurm.fake_slurm import write_commands

SCRIPTS = {
    "sbatch": "echo 7",
    "squeue": '[ -e cancelled ] || printf "7_%s|$4|PENDING|Priority\\n" 0 1',
    "scancel": 'echo "$@" > cancelled',
}


FOLDER = command_array.get_folder(Path("reports"), "tuned", "sweep")
SNAPSHOT = StudySnapshot(
    file="study.yaml", overrides=[], name="tuned", title="", source="", settings={}
)


def submit(kind: str = "sweep") -> None:
    folder = command_array.get_folder(Path("reports"), "tuned", kind)
    command_array.submit_array(
        Profile(name="full"), folder, f"tuned-{kind}", SNAPSHOT, ["sweep"], 2
    )


@pytest.fixture(autouse=True)
def _queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep whose workers are queued and that has no evaluated point yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{write_commands(tmp_path, SCRIPTS)}:{os.environ['PATH']}")
    submit()


def ablate(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_sweep_workers_are_listed_before_the_study_has_a_plan() -> None:
    for arguments in (["status"], ["status", "tuned"]):
        lines = ablate(*arguments).splitlines()
        assert lines[0].startswith("tuned: ")
        assert lines[1:] == [f"  sweep worker  job 7_{n}  PENDING Priority" for n in (0, 1)]


def test_status_watches_until_a_sweeps_workers_have_left_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli_inspect, "POLL_SECONDS", 0.0)
    squeue = Path("bin/squeue")
    squeue.write_text(f"{squeue.read_text()}[ ! -e called ] || touch cancelled; touch called\n")
    output = ablate("status", "tuned", "--watch")
    assert "tuned: its jobs run on a cluster" in output
    assert "tuned: squeue lists none of its jobs; to go on, run the study again" in output


def test_status_keeps_watching_if_squeue_fails_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli_inspect, "POLL_SECONDS", 0.0)
    squeue = Path("bin/squeue")
    silent = "echo x >> called; n=$(wc -l < called); [ $n = 2 ] && exit 1; [ $n -gt 3 ] && exit 0\n"
    squeue.write_text(squeue.read_text().replace("\n", f"\n{silent}", 1))
    assert ablate("status", "tuned", "--watch").count("its jobs run on a cluster") >= 2


def test_status_of_a_sweep_omits_the_queue_if_slurm_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert len(ablate("status", "tuned").splitlines()) == 1


def test_sweep_workers_are_cancelled() -> None:
    assert "cancelled 2 sweep workers" in ablate("cancel", "tuned", "--yes")
    assert Path("cancelled").read_text() == "7_0 7_1\n"
    assert "this study has no queued jobs" in ablate("cancel", "tuned", "--yes")


def test_workers_whose_number_was_lost_in_a_crash_are_recovered_by_their_name() -> None:
    file = FOLDER / command_array.ARRAY_FILE
    replace(CommandArray.read(file), number="").write(file)
    assert len(ablate("status", "tuned").splitlines()) == 3
    assert "cancelled 2 sweep workers" in ablate("cancel", "tuned", "--yes")
    assert Path("cancelled").read_text() == "7_0 7_1\n"


def test_workers_are_cancelled_if_sbatch_fails_after_it_has_queued_them() -> None:
    Path("cancelled").touch()
    assert "no queued jobs" in ablate("cancel", "tuned", "--yes")
    Path("cancelled").unlink()
    Path("bin/squeue").write_text(
        '#!/bin/sh\n[ -e queued ] && [ ! -e cancelled ] && echo "8_0|$4|PENDING|Priority"; true\n'
    )
    Path("bin/sbatch").write_text(
        '#!/bin/sh\ncase "$*" in *--test-only*) exit 0;; esac\ntouch queued; exit 1\n'
    )
    before = (FOLDER / command_array.ARRAY_FILE).read_text()
    with pytest.raises(SlurmError):
        submit()
    assert Path("cancelled").read_text() == "8\n"
    assert (FOLDER / command_array.ARRAY_FILE).read_text() == before


def test_jobs_that_decode_clips_are_listed_and_cancelled_with_the_others() -> None:
    submit("decode")
    assert "  decoding job  job 7_1  PENDING Priority" in ablate("status", "tuned")
    assert "cancelled 2 sweep workers and 2 decoding jobs" in ablate("cancel", "tuned", "--yes")
