"""Determines how runs on a cluster ended: from their run folders, then from the queue."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ablate.core.io import DamagedFileError
from ablate.core.records.jobs import CanaryFailure, EndMark
from ablate.core.records.run import CONFIG_FILE
from ablate.runs import store
from ablate.runs.lock import is_locked
from ablate.runs.rebuild import read_environment
from ablate.runs.record import read_record, replace_end
from ablate.slurm import history
from ablate.slurm import queue as slurm_queue
from ablate.slurm.canary import FAILURE_FILE, get_canary_name
from ablate.slurm.commands import SlurmError
from ablate.slurm.queue import QueueState, SubmittedJob

END_MARKS = "ended"  # folder in a submission with one file per run that a job has ended
HIDDEN = QueueState("PENDING", "squeue does not list it, but the cluster has not ended it")
logger = logging.getLogger(__name__)


class QueuedRun(NamedTuple):
    """A run whose job is in the queue."""

    job: SubmittedJob
    state: QueueState

    def __str__(self) -> str:
        return f"job {self.job.job_id} {self.state.state} {self.state.reason}".rstrip()


class RunEnd(NamedTuple):
    """How a run ended."""

    state: Literal["done", "failed"]
    reason: str | None
    trained: bool  # by the job to which the run was last submitted
    seconds: float  # duration of the training


def get_end_mark(submission: Path, folder: Path) -> Path:
    """Returns the file in a submission's folder which records that a job has ended a run."""
    return submission / END_MARKS / f"{folder.name}.json"


def find_end(
    folder: Path, job: SubmittedJob | None, probes: Mapping[str, Mapping[str, Any]]
) -> RunEnd | None:
    """Returns how a run ended; None if it has not ended.

    A failure in the run folder may be left from before the run was tried again. It counts only
    once the last job has recorded that it ended the run.

    Args:
        folder: the run folder.
        job: the job to which the run was last submitted.
        probes: settings of the probes by name; a run that lacks a score of one is not done.
    """
    status = store.read_status(folder)
    mark = None if job is None else _find_mark(folder, job)
    if job is not None and mark is None and is_locked(folder):
        return None  # its job still works on it
    trained = mark is not None and mark.trained
    if status.state == "done" and not store.find_missing_probes(folder, probes):
        return RunEnd("done", None, trained, status.seconds or 0.0)
    if status.state in ("failed", "done") and mark is not None:  # done: trained, but not scored
        return RunEnd("failed", status.reason, trained, status.seconds or 0.0)
    return None


def _find_mark(folder: Path, job: SubmittedJob) -> EndMark | None:
    """Reads what a job has recorded about the end of a run; None, with a warning, if damaged."""
    try:
        return EndMark.find(_get_mark_of_job(folder, job))
    except DamagedFileError as error:
        logger.warning("%s %s; it is passed over", error.path, error.problem)
        return None


def _get_mark_of_job(folder: Path, job: SubmittedJob) -> Path:
    return get_end_mark(Path(job.log).parent.parent, folder)


def record_end(folder: Path, job: SubmittedJob, end: str | None) -> None:
    """Writes into `run.json` why a run has not ended although its job has left the queue.

    `end` is the end of the job according to sacct, if known.
    """
    record = read_record(folder)
    has_started = _has_own_attempt(folder, job)
    state, reason = history.explain_end(job, end, has_started=has_started)
    if canary_reason := _find_canary_failure(job):
        state, reason = "cancelled", f"the canary failed, so nothing was run: {canary_reason}"
    elif record.state == "preempted" and state != "cancelled":
        recorded = str(record.reason)  # may already name the end of this job
        state = "preempted"
        reason = recorded if recorded.endswith(reason) else f"{recorded}; {reason}"
    replace_end(folder, state, reason)


def reconcile_runs(folders: Iterable[Path]) -> dict[Path, QueuedRun]:
    """Records the ends of runs whose jobs have left the queue.

    Returns the runs that are still queued. Raises `SlurmError` if squeue fails.
    """
    jobs = {
        folder: job
        for folder, job in slurm_queue.find_last_jobs(folders).items()
        if not _get_mark_of_job(folder, job).exists()
    }
    if not jobs:
        return {}
    states = slurm_queue.query_states(jobs.values())
    absent = [f for f, job in jobs.items() if job.job_id not in states and _is_unfinished(f, job)]
    gone = history.find_gone(jobs[folder] for folder in absent)
    for folder in absent:
        job = jobs[folder]
        if job.job_id in gone:
            record_end(folder, job, gone[job.job_id])
        else:
            states[job.job_id] = HIDDEN
    return {
        folder: QueuedRun(job, states[job.job_id])
        for folder, job in jobs.items()
        if job.job_id in states
    }


def find_queued(folders: Iterable[Path]) -> dict[Path, SubmittedJob]:
    """Returns the run folders whose last job is in the queue; records no ends.

    Raises `SlurmError` if squeue fails.
    """
    jobs = slurm_queue.find_last_jobs(folders)
    states = slurm_queue.query_states(jobs.values())
    absent = [f for f, job in jobs.items() if job.job_id not in states and _is_unfinished(f, job)]
    gone = history.find_gone(jobs[folder] for folder in absent)
    hidden = [folder for folder in absent if jobs[folder].job_id not in gone]
    return {f: job for f, job in jobs.items() if job.job_id in states or f in hidden}


def _find_canary_failure(job: SubmittedJob) -> str | None:
    """Returns why the canary that a job depends on failed; None if it did not."""
    failure = CanaryFailure.find(Path(job.canary) / FAILURE_FILE) if job.canary else None
    if failure is not None:
        return failure.reason
    for folder in _find_canary_runs(job):
        status = store.read_status(folder)
        if status.state == "failed":
            return status.reason
    reason = _explain_canary_kill(job)
    if reason is not None:  # saved, so that SLURM is queried once for all jobs that depend on it
        CanaryFailure(reason=reason).write(Path(job.canary) / FAILURE_FILE)
    return reason


def _explain_canary_kill(job: SubmittedJob) -> str | None:
    """Returns why SLURM killed a canary before it recorded an end; None if it did not."""
    if not job.canary or Path(job.log).exists():  # a job that has started has a healthy canary
        return None
    home = Path(job.canary)
    marks = [EndMark.find(get_end_mark(home, folder)) for folder in _find_canary_runs(job)]
    logs = sorted((home / "logs").glob("*.out"))
    if not logs or (marks and all(mark is not None and mark.state == "done" for mark in marks)):
        return None
    number = logs[-1].name.partition("_")[0]
    canary = SubmittedJob(number, get_canary_name(job.name, home), str(logs[-1]))
    try:
        gone = history.find_gone([canary])
    except SlurmError:
        return None
    return history.explain_end(canary, gone[number])[1] if number in gone else None


def read_canary_log(job: SubmittedJob) -> list[str]:
    """Returns the lines of the log of the canary's failed run, with the traceback; [] if none."""
    for folder in _find_canary_runs(job):
        if store.read_status(folder).state == "failed":
            logs = sorted(folder.glob("attempts/*/log.txt"))
            return logs[-1].read_text(encoding="utf-8").splitlines() if logs else []
    return []


def _find_canary_runs(job: SubmittedJob) -> list[Path]:
    if not job.canary:
        return []
    return sorted(path.parent for path in Path(job.canary).glob(f"*/{CONFIG_FILE}"))


def _is_unfinished(folder: Path, job: SubmittedJob) -> bool:
    """Returns whether no end of the run has been written since the job was submitted."""
    if is_locked(folder):
        return False
    state = store.read_status(folder).state
    if state == "running":  # recorded by another machine: by this job, which is gone, or another
        return _has_own_attempt(folder, job)
    if state in ("stale", "preempted", "planned"):
        return True
    return slurm_queue.hash_record(folder) == job.record_hash


def _has_own_attempt(folder: Path, job: SubmittedJob) -> bool:
    """Returns whether the last attempt at a run was made by this job."""
    environment = read_environment(folder)
    return environment.slurm.get("SLURM_JOB_NAME") == job.name
