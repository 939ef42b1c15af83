"""Runs that the site's limit on jobs keeps out of the queue, on a site of three scripts."""

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
from ablate.slurm.queue import Submitted
from ablate.slurm.resources import Needs
from ablate.study.exit_codes import FAILED, run_with_exit_code
from tests.run_folders import write_record
from tests.slurm.scripted_site import lay


@pytest.fixture
def full_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A site that has one job of ours in its queue and takes no other."""
    scripts = {
        "squeue": "echo '8_0|study-2|RUNNING|None'",
        "sbatch": '[ "$1" = --test-only ] || { echo QOSMaxSubmitJobPerUserLimit >&2; exit 1; }',
    }
    monkeypatch.setenv("PATH", str(lay(tmp_path, scripts)))
    monkeypatch.chdir(tmp_path)
    profile = Profile(name="full", max_array=10, canary=False, poll_seconds=0.01)
    return Cluster(Needs(profile, {}, {}), tmp_path / "slurm", tmp_path / "cache", study="study")


def given(tmp_path: Path, name: str, state: str, job: str, submission: str) -> RunJob:
    """A run in some state that was given to a job."""
    folder = tmp_path / "runs" / name
    store.write_config(folder, kind="jepa", settings={"seed": 0})
    write_record(folder, state, f"{state}: before")
    log = tmp_path / submission / "logs" / f"{job}_0_log.out"
    slurm_queue.remember(folder, Submitted(job, submission, str(log)))
    return RunJob(folder, name, {})


@pytest.mark.parametrize("state", ["preempted", "cancelled", "failed"])
def test_a_run_that_waits_to_be_submitted_again_has_not_ended(
    tmp_path: Path, full_site: Cluster, state: str
) -> None:
    in_queue = given(tmp_path, "first", "running", "8_0", "study-2")
    again = given(tmp_path, "again", state, "3_0", "study-1")
    if state == "failed":  # and its job of then has said so
        mark = tmp_path / "study-1" / reconcile.MARKS / "again.json"
        EndMark(state="failed", trained=True).write(mark)
    recorded = (again.folder / "run.json").read_text()
    listener = Impatient()
    with pytest.raises(TimeoutError):
        full_site.follow([in_queue, again], listener, waiting=[again])
    assert (again.folder / "run.json").read_text() == recorded
    assert listener.labels["again"] == ["waiting for room in the queue"] * 3


def test_what_is_queued_is_not_denied_where_the_rest_is_refused(
    tmp_path: Path, full_site: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid account >&2\nexit 1\n")
    in_queue = given(tmp_path, "first", "running", "8_0", "study-2")
    again = given(tmp_path, "again", "preempted", "3_0", "study-1")

    def act() -> int:
        full_site.follow([in_queue, again], Impatient(), waiting=[again])
        return 0

    assert run_with_exit_code(act) == FAILED
    told = " ".join(capsys.readouterr().err.split())
    assert told == (
        "sbatch: invalid account; not submitted: 1; already queued, and going on: 1; "
        "see `ablate status study`"
    )


def test_a_run_that_ended_elsewhere_while_it_waited_is_not_submitted(
    tmp_path: Path, full_site: Cluster
) -> None:
    (tmp_path / "bin" / "sbatch").write_text(
        f"#!/bin/sh\necho called >> {tmp_path}/asked\nexit 1\n"
    )
    in_queue = given(tmp_path, "first", "running", "8_0", "study-2")
    again = given(tmp_path, "again", "preempted", "3_0", "study-1")
    write_record(again.folder, "done")
    ended_elsewhere = full_site.follow([in_queue, again], Quiet(), waiting=[again], seconds=0.1)
    assert [(of.job, of.state) for of in ended_elsewhere] == [(again, "done")]
    assert not (tmp_path / "asked").exists()


def test_a_queue_that_does_not_answer_is_told(tmp_path: Path, full_site: Cluster) -> None:
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    job = given(tmp_path, "first", "preempted", "8_0", "study-2")
    listener = Impatient()
    full_site.follow([job], listener, seconds=0)
    assert listener.labels["first"] == ["job 8_0: the queue does not answer"]


class Impatient:
    """Keeps what it is told, leaves at the third poll, and expects no end before."""

    def __init__(self) -> None:
        self.labels: dict[str, list[str]] = {}

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        self.labels.setdefault(job.title, []).append(progress.label)
        if len(self.labels) == 2 and all(len(told) == 3 for told in self.labels.values()):
            raise TimeoutError

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        pytest.fail(f"{outcome.job.title} has {outcome.state}: {outcome.reason}")


class Quiet:
    """Hears all and keeps nothing."""

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None: ...

    def on_finished(self, worker: int, outcome: RunOutcome) -> None: ...
