"""How a run ended whose job is gone, on a site whose clocks disagree."""

import os
import time
from pathlib import Path

import pytest

from ablate.core.records.jobs import EndMark
from ablate.core.records.run import Environment
from ablate.runs import store
from ablate.runs.record import ENVIRONMENT_FILE
from ablate.slurm import queue as slurm_queue
from ablate.slurm import reconcile
from ablate.slurm.queue import Submitted
from tests.run_folders import write_record
from tests.slurm.scripted_site import lay

AN_HOUR = 3600.0


@pytest.fixture
def empty_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose queue is empty and that has no accounting."""
    monkeypatch.setenv("PATH", str(lay(tmp_path, {"squeue": ""})))


def submitted(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "ab12"
    write_record(folder, "failed", "node: gone", attempt=1)
    job = Submitted("7_0", "study-1", str(tmp_path / "home" / "logs" / "7_0_0_log.out"))
    slurm_queue.remember(folder, job)
    return folder


def shift(folder: Path, seconds: float) -> None:
    at = time.time() + seconds
    os.utime(folder / "run.json", (at, at))


@pytest.mark.parametrize("skew", [-AN_HOUR, AN_HOUR])
def test_a_job_that_left_without_a_word_is_settled_whatever_the_disks_clock(
    tmp_path, empty_queue, skew
):
    folder = submitted(tmp_path)
    shift(folder, skew)
    assert reconcile.reconcile([folder]) == []
    status = store.read_status(folder)
    assert (status.state, "job 7_0" in str(status.reason)) == ("cancelled", True)


@pytest.mark.parametrize("skew", [-AN_HOUR, AN_HOUR])
def test_what_a_run_wrote_after_it_was_handed_in_stands_whatever_the_disks_clock(
    tmp_path, empty_queue, skew
):
    folder = submitted(tmp_path)
    write_record(folder, "failed", "nan: loss", attempt=2)
    shift(folder, skew)
    assert reconcile.reconcile([folder]) == []
    assert store.read_status(folder).reason == "nan: loss"


def test_a_preempted_run_is_told_once_how_its_job_ended(tmp_path, empty_queue):
    folder = submitted(tmp_path)
    log = Path(slurm_queue.last(folder).log)
    log.parent.mkdir(parents=True)
    log.write_text("slurmstepd: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO PREEMPTION ***\n")
    write_record(folder, "preempted", "USR1 at step 5")
    for _ in range(3):
        reconcile.reconcile([folder])
    status = store.read_status(folder)
    assert status.state == "preempted"
    assert str(status.reason).startswith("USR1 at step 5; preempted, and not requeued (job 7_0")
    assert str(status.reason).count("not requeued") == 1


@pytest.mark.parametrize(
    ("words", "killed"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.", True),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in step 7.0 cgroup.", True),
        ("slurmstepd: error: Step 7.0 exceeded memory limit (9 > 8), being killed", True),
        ('{"reason": "oom: CUDA out of memory"}', True),
        ("no room left, not even in room: 5", False),
        ("user bloom zooms in", False),
    ],
)
def test_a_job_was_killed_for_its_memory_only_where_the_site_says_so(tmp_path, words, killed):
    (tmp_path / "log.out").write_text(f"{words}\nTraceback\n")
    state, reason = slurm_queue.reason(Submitted("7_0", "study-1", str(tmp_path / "log.out")), None)
    assert (state, reason.startswith("oom: ")) == ("failed", killed)


def test_what_is_settled_is_not_settled_again(tmp_path, empty_queue):
    folder = submitted(tmp_path)
    reconcile.reconcile([folder])
    first = (folder / "run.json").stat().st_ino  # a file is replaced when it is written
    reconcile.reconcile([folder])
    assert (folder / "run.json").stat().st_ino == first


def waiting_for_a_canary(tmp_path: Path, words: str, mark: str = "") -> Path:
    """A run whose job was cancelled in the queue, as the canary that it waited for has ended."""
    home = tmp_path / "home"
    log = home / "canary-00" / "logs" / "6_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text(words)
    tried = home / "canary-00" / "cd34"
    store.write_config(tried, kind="jepa", settings={})
    write_record(tried, mark or "preempted", "USR1 at step 2")
    if mark:
        EndMark(state=mark).write(home / "canary-00" / reconcile.MARKS / "cd34.json")
    folder = tmp_path / "runs" / "ab12"
    folder.mkdir(parents=True)
    given = Submitted("7_0", "study-1", str(home / "logs" / "7_0_0_log.out"), str(log.parents[1]))
    slurm_queue.remember(folder, given)
    return folder


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=6.batch.", "oom: the job was"),
        ("slurmstepd: *** JOB 6 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "timeout: the job"),
    ],
)
def test_a_run_whose_canary_the_site_has_killed_says_so(tmp_path, empty_queue, words, told):
    folder = waiting_for_a_canary(tmp_path, words)
    reconcile.reconcile([folder])
    status = store.read_status(folder)
    assert status.state == "cancelled"
    assert str(status.reason).startswith(f"the canary failed, so nothing was run: {told}")
    assert "canary-00/logs/6_0_log.out" in str(status.reason)


def test_a_canary_that_is_still_in_the_queue_has_not_failed(tmp_path, empty_queue):
    folder = waiting_for_a_canary(tmp_path, "step 2")
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho '6|study-1-canary|RUNNING|None'\n")
    reconcile.reconcile([folder])
    assert store.read_status(folder).reason == "the job left the queue before it started (job 7_0)"


def test_a_canary_that_ended_well_is_not_to_blame(tmp_path, empty_queue):
    folder = waiting_for_a_canary(tmp_path, "step 12", mark="done")
    reconcile.reconcile([folder])
    assert store.read_status(folder).reason == "the job left the queue before it started (job 7_0)"


@pytest.mark.parametrize(("name", "state"), [("study-1", "cancelled"), ("by-hand", "running")])
def test_a_run_of_another_machine_is_settled_only_where_its_own_job_is_gone(
    tmp_path, empty_queue, name, state
):
    folder = submitted(tmp_path)
    Environment(slurm={"SLURM_JOB_NAME": name}).write(folder / ENVIRONMENT_FILE)
    write_record(folder, "running", host="another machine")
    reconcile.reconcile([folder])
    assert store.read_status(folder).state == state
