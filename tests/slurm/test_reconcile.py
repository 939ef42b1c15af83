"""Tests of how a run ended whose job has left the queue, with machines whose clocks differ."""

import os
import time
from pathlib import Path

import pytest

from ablate.core.records.jobs import EndMark
from ablate.core.records.run import ENVIRONMENT_FILE, Environment
from ablate.runs import store
from ablate.slurm import history, reconcile
from ablate.slurm import queue as slurm_queue
from ablate.slurm.queue import SubmittedJob
from tests.run_folders import write_record
from tests.slurm.fake_slurm import write_commands

HOUR = 3600.0


@pytest.fixture
def empty_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster whose queue is empty and that has no accounting."""
    monkeypatch.setenv("PATH", str(write_commands(tmp_path, {"squeue": ""})))


def create_run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "ab12"
    write_record(folder, "failed", "node: gone", attempt=1)
    job = SubmittedJob("7_0", "study-1", str(tmp_path / "home" / "logs" / "7_0_0_log.out"))
    slurm_queue.record_job(folder, job)
    return folder


def shift(folder: Path, seconds: float) -> None:
    at = time.time() + seconds
    os.utime(folder / "run.json", (at, at))


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_a_job_that_left_no_output_is_recorded_as_cancelled_whatever_the_clock(
    tmp_path, empty_queue, skew
):
    folder = create_run(tmp_path)
    shift(folder, skew)
    assert reconcile.reconcile_runs([folder]) == {}
    status = store.read_status(folder)
    assert (status.state, "job 7_0" in str(status.reason)) == ("cancelled", True)


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_an_end_recorded_after_submission_is_kept_whatever_the_clock(tmp_path, empty_queue, skew):
    folder = create_run(tmp_path)
    write_record(folder, "failed", "nan: loss", attempt=2)
    shift(folder, skew)
    assert reconcile.reconcile_runs([folder]) == {}
    assert store.read_status(folder).reason == "nan: loss"


def test_the_end_of_a_preempted_runs_job_is_recorded_once(tmp_path, empty_queue):
    folder = create_run(tmp_path)
    log = Path(slurm_queue.find_last_job(folder).log)
    log.parent.mkdir(parents=True)
    log.write_text("slurmstepd: *** JOB 7 ON n1 CANCELLED AT 2026 DUE TO PREEMPTION ***\n")
    write_record(folder, "preempted", "USR1 at step 5")
    for _ in range(3):
        reconcile.reconcile_runs([folder])
    status = store.read_status(folder)
    assert status.state == "preempted"
    assert str(status.reason).startswith("USR1 at step 5; preempted, and not requeued (job 7_0")
    assert str(status.reason).count("not requeued") == 1


@pytest.mark.parametrize(
    ("log_text", "killed"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch.", True),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in step 7.0 cgroup.", True),
        ("slurmstepd: error: Step 7.0 exceeded memory limit (9 > 8), being killed", True),
        ('{"reason": "oom: CUDA out of memory"}', True),
        ("no room left, not even in room: 5", False),
        ("user bloom zooms in", False),
    ],
)
def test_only_slurms_own_messages_mean_that_a_job_ran_out_of_memory(tmp_path, log_text, killed):
    (tmp_path / "log.out").write_text(f"{log_text}\nTraceback\n")
    state, reason = history.explain_end(
        SubmittedJob("7_0", "study-1", str(tmp_path / "log.out")), None
    )
    assert (state, reason.startswith("oom: ")) == ("failed" if killed else "cancelled", killed)


@pytest.mark.parametrize(("name", "state"), [("study-1", "preempted"), ("by-hand", "cancelled")])
@pytest.mark.parametrize("log_text", ["python: command not found", "JOB 7 CANCELLED DUE TO NODE"])
def test_a_run_has_not_failed_because_its_job_died(tmp_path, empty_queue, name, state, log_text):
    folder = create_run(tmp_path)
    Environment(slurm={"SLURM_JOB_NAME": name}).write(folder / ENVIRONMENT_FILE)
    log = Path(slurm_queue.find_last_job(folder).log)
    log.parent.mkdir(parents=True)
    log.write_text(f"slurmstepd: *** {log_text} FAILURE ***\n")
    reconcile.reconcile_runs([folder])
    status = store.read_status(folder)
    assert (status.state, status.failure) == (state, None)
    assert str(status.reason).startswith("node: ")


def test_a_recorded_end_is_not_written_again(tmp_path, empty_queue):
    folder = create_run(tmp_path)
    reconcile.reconcile_runs([folder])
    first = (folder / "run.json").stat().st_ino  # a file is replaced when it is written
    reconcile.reconcile_runs([folder])
    assert (folder / "run.json").stat().st_ino == first


def create_run_with_canary(tmp_path: Path, log_text: str, mark: str = "") -> Path:
    """Creates a run whose job was cancelled in the queue because its canary has ended."""
    home = tmp_path / "home"
    log = home / "canary-00" / "logs" / "6_0_log.out"
    log.parent.mkdir(parents=True)
    log.write_text(log_text)
    tried = home / "canary-00" / "cd34"
    store.write_config(tried, kind="jepa", settings={})
    write_record(tried, mark or "preempted", "USR1 at step 2")
    if mark:
        EndMark(state=mark).write(home / "canary-00" / reconcile.END_MARKS / "cd34.json")
    folder = tmp_path / "runs" / "ab12"
    folder.mkdir(parents=True)
    job = SubmittedJob("7_0", "study-1", str(home / "logs" / "7_0_0_log.out"), str(log.parents[1]))
    slurm_queue.record_job(folder, job)
    return folder


@pytest.mark.parametrize(
    ("log_text", "reason"),
    [
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=6.batch.", "oom: the job was"),
        ("slurmstepd: *** JOB 6 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "timeout: the job"),
    ],
)
def test_a_run_whose_canary_was_killed_names_the_reason(tmp_path, empty_queue, log_text, reason):
    folder = create_run_with_canary(tmp_path, log_text)
    reconcile.reconcile_runs([folder])
    status = store.read_status(folder)
    assert status.state == "cancelled"
    assert str(status.reason).startswith(f"the canary failed, so nothing was run: {reason}")
    assert "canary-00/logs/6_0_log.out" in str(status.reason)


def test_a_canary_that_is_still_in_the_queue_has_not_failed(tmp_path, empty_queue):
    folder = create_run_with_canary(tmp_path, "step 2")
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\necho '6|study-canary-00|RUNNING|None'\n")
    reconcile.reconcile_runs([folder])
    assert store.read_status(folder).reason == "the job left the queue before it started (job 7_0)"


def test_a_canary_that_succeeded_is_not_named_as_the_reason(tmp_path, empty_queue):
    folder = create_run_with_canary(tmp_path, "step 12", mark="done")
    reconcile.reconcile_runs([folder])
    assert store.read_status(folder).reason == "the job left the queue before it started (job 7_0)"


@pytest.mark.parametrize(("name", "state"), [("study-1", "cancelled"), ("by-hand", "running")])
def test_a_run_on_another_machine_has_ended_only_if_its_own_job_is_gone(
    tmp_path, empty_queue, name, state
):
    folder = create_run(tmp_path)
    Environment(slurm={"SLURM_JOB_NAME": name}).write(folder / ENVIRONMENT_FILE)
    write_record(folder, "running", host="another machine")
    reconcile.reconcile_runs([folder])
    assert store.read_status(folder).state == state
