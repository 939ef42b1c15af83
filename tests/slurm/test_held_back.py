"""Tests of runs that exceed the cluster's limit on jobs, with scripted SLURM commands."""

from pathlib import Path

import pytest

from ablate.core.records.jobs import EndMark
from ablate.core.records.messages import ProgressMessage
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.slurm import queue as slurm_queue
from ablate.slurm import reconcile
from ablate.slurm.executor import Cluster
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob
from ablate.slurm.resources import Resources
from ablate.study.exit_codes import FAILED, run_with_exit_code
from tests.run_folders import write_record
from tests.slurm.fake_slurm import write_commands


@pytest.fixture
def full_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that has one job of the study in its queue and accepts no other."""
    scripts = {
        "squeue": "echo '8_0|study-2|RUNNING|None'",
        "sbatch": '[ "$1" = --test-only ] || { echo QOSMaxSubmitJobPerUserLimit >&2; exit 1; }',
    }
    monkeypatch.setenv("PATH", str(write_commands(tmp_path, scripts)))
    monkeypatch.chdir(tmp_path)
    profile = Profile(name="full", max_array=10, canary=False, poll_seconds=0.01)
    return Cluster(
        Resources(profile, {}, {}), tmp_path / "slurm", tmp_path / "cache", study="study"
    )


def create_run(tmp_path: Path, name: str, state: str, job: str, submission: str) -> RunJob:
    """Creates a run in some state that was submitted as a job."""
    folder = tmp_path / "runs" / name
    store.write_config(folder, kind="jepa", settings={"seed": 0})
    write_record(folder, state, f"{state}: before")
    log = tmp_path / submission / "logs" / f"{job}_0_log.out"
    slurm_queue.record_job(folder, SubmittedJob(job, submission, str(log)))
    return RunJob(folder, name, {})


@pytest.mark.parametrize("state", ["preempted", "cancelled", "failed"])
def test_a_run_that_waits_to_be_submitted_again_has_not_ended(
    tmp_path: Path, full_cluster: Cluster, state: str
) -> None:
    queued = create_run(tmp_path, "first", "running", "8_0", "study-2")
    again = create_run(tmp_path, "again", state, "3_0", "study-1")
    if state == "failed":  # recorded by its earlier job
        mark = tmp_path / "study-1" / reconcile.END_MARKS / "again.json"
        EndMark(state="failed", trained=True).write(mark)
    recorded = (again.folder / "run.json").read_text()
    listener = ImpatientListener()
    with pytest.raises(TimeoutError):
        full_cluster.follow([queued, again], listener, waiting=[again])
    assert (again.folder / "run.json").read_text() == recorded
    assert listener.labels["again"] == ["not submitted yet: the queue is full"] * 3


def test_a_partial_refusal_reports_how_many_runs_are_still_queued(
    tmp_path: Path, full_cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid account >&2\nexit 1\n")
    queued = create_run(tmp_path, "first", "running", "8_0", "study-2")
    again = create_run(tmp_path, "again", "preempted", "3_0", "study-1")

    def act() -> int:
        full_cluster.follow([queued, again], ImpatientListener(), waiting=[again])
        return 0

    assert run_with_exit_code(act) == FAILED
    message = " ".join(capsys.readouterr().err.split())
    assert message == (
        "sbatch: invalid account; not submitted: 1; still queued: 1; see `ablate status study`"
    )


def test_a_run_that_ended_elsewhere_while_it_waited_is_not_submitted(
    tmp_path: Path, full_cluster: Cluster
) -> None:
    (tmp_path / "bin" / "sbatch").write_text(
        f"#!/bin/sh\necho called >> {tmp_path}/called\nexit 1\n"
    )
    queued = create_run(tmp_path, "first", "running", "8_0", "study-2")
    again = create_run(tmp_path, "again", "preempted", "3_0", "study-1")
    write_record(again.folder, "done")
    ended_elsewhere = full_cluster.follow(
        [queued, again], SilentListener(), waiting=[again], seconds=0.1
    )
    assert [(outcome.job, outcome.state) for outcome in ended_elsewhere] == [(again, "done")]
    assert not (tmp_path / "called").exists()


def test_a_queue_that_does_not_answer_is_reported(tmp_path: Path, full_cluster: Cluster) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    job = create_run(tmp_path, "first", "preempted", "8_0", "study-2")
    listener = ImpatientListener()
    full_cluster.follow([job], listener, seconds=0)
    assert listener.labels["first"] == ["job 8_0: the queue does not answer"]


class ImpatientListener:
    """Records labels, raises at the third poll, and fails if a run ends before."""

    def __init__(self) -> None:
        self.labels: dict[str, list[str]] = {}

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        self.labels.setdefault(job.title, []).append(progress.label)
        if len(self.labels) == 2 and all(len(labels) == 3 for labels in self.labels.values()):
            raise TimeoutError

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        pytest.fail(f"{outcome.job.title} has {outcome.state}: {outcome.reason}")


class SilentListener:
    """Ignores all progress."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None: ...

    def on_finished(self, worker: int, outcome: RunOutcome) -> None: ...
