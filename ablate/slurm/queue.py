"""Queries and cancels jobs with squeue and scancel, and records the jobs of each run.

A job is identified by its number and its name together, because a reinstalled cluster assigns the
same numbers again.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.core.records.record import Record
from ablate.core.records.run import RECORD_FILE
from ablate.slurm import commands
from ablate.slurm.commands import SlurmError, SlurmMissingError

JOBS_FILE = "jobs.jsonl"
LOCK_FILE = ".submission.lock"
LOCK_TIMEOUT_SECONDS = 600.0  # another process may be submitting the same study
BATCH_SIZE = 100  # names or numbers per command
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubmittedJob(Record):
    """A job to which a run was submitted; one line of `jobs.jsonl` in the run folder."""

    job_id: str  # 123, or 123_4 for a task of an array
    name: str  # unique to the submission
    log: str  # path of the job's output
    canary: str = ""  # folder of the canary job that it depends on
    submitted_at: float = 0.0  # Unix time, for people; machines' clocks are never compared
    record_hash: str = ""  # hash of `run.json` at submission, see `hash_record`

    @property
    def number(self) -> str:
        """The number of the job, or of its array."""
        return self.job_id.partition("_")[0]


@dataclass(frozen=True)
class QueueState:
    """The state of a job in the queue, in SLURM's words."""

    state: str  # such as PENDING
    reason: str  # such as Resources


def record_job(folder: Path, job: SubmittedJob) -> None:
    """Appends a job to the `jobs.jsonl` of a run folder, with the time and the record's hash."""
    entry = replace(job, submitted_at=time.time(), record_hash=hash_record(folder))
    with (folder / JOBS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry.to_json()) + "\n")


def find_last_job(folder: Path) -> SubmittedJob | None:
    """Returns the job to which a run was last submitted; None if it never was.

    A damaged line of `jobs.jsonl` is passed over with a warning; the array of its job is in the
    record of its submission, too.
    """
    file = folder / JOBS_FILE
    if not file.exists():
        return None
    for line in reversed(file.read_bytes().splitlines()):
        try:
            return SubmittedJob.from_json(json.loads(line), "the record")
        except (ValueError, TypeError, AttributeError) as error:
            logger.warning("a line of %s is damaged (%s); it is passed over", file, error)
    return None


def find_last_jobs(folders: Iterable[Path]) -> dict[Path, SubmittedJob]:
    """Returns the last job of each run folder that has one."""
    jobs = {folder: find_last_job(folder) for folder in folders}
    return {folder: job for folder, job in jobs.items() if job is not None}


def hash_record(folder: Path) -> str:
    """Returns a hash of a run's `run.json`; "" if there is none."""
    try:
        return hashlib.sha256((folder / RECORD_FILE).read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return ""


def query_states(jobs: Iterable[SubmittedJob]) -> dict[str, QueueState]:
    """Returns the states of those jobs that are in the queue, by `job_id`.

    Raises `SlurmError` if squeue fails.
    """
    wanted = {job.job_id: job for job in jobs}
    names = sorted({job.name for job in wanted.values()})
    states: dict[str, QueueState] = {}
    for start in range(0, len(names), BATCH_SIZE):
        batch = ",".join(names[start : start + BATCH_SIZE])
        # -r: one line per array task; --name, because squeue fails altogether on an unknown number
        output = commands.run_command(["squeue", "-h", "-r", "--name", batch, "-o", "%i|%j|%T|%r"])
        for line in output.splitlines():
            job_id, name, state, reason = [*line.split("|"), "", "", ""][:4]
            if job_id in wanted and wanted[job_id].name == name:
                states[job_id] = QueueState(state, reason)
    return states


def may_be_queued(jobs: Iterable[SubmittedJob]) -> bool:
    """Returns whether any job is in the queue; True if squeue fails, False if it is missing."""
    try:
        return bool(query_states(jobs))
    except SlurmMissingError:
        return False
    except SlurmError:
        return True


def cancel_jobs(jobs: Iterable[SubmittedJob]) -> None:
    """Cancels jobs. Raises `SlurmError`."""
    job_ids = sorted({job.job_id for job in jobs})
    for start in range(0, len(job_ids), BATCH_SIZE):
        commands.run_command(["scancel", *job_ids[start : start + BATCH_SIZE]])


def try_scancel(numbers: Iterable[str]) -> None:
    """Cancels jobs one by one; logs a warning for each that cannot be cancelled."""
    for number in numbers:
        try:
            commands.run_command(["scancel", number])
        except SlurmError as error:
            logger.warning("job %s is still in the queue: %s", number, error)


@contextmanager
def submission_lock(folder: Path, *, timeout: float = LOCK_TIMEOUT_SECONDS) -> Iterator[bool]:
    """Locks the submissions of a study, so that two processes do not submit the same run.

    The lock covers both the query which runs are missing from the queue and their submission.
    Yields True; with a `timeout` of 0 seconds, False if another process holds the lock.

    Args:
        folder: folder of the study's submissions.
        timeout: how long to wait for the lock, in seconds.

    Raises:
        SlurmError: another process holds the lock for longer than a `timeout` above 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        if timeout:
            problem = f"another process has been submitting this study for {timeout:.0f} s"
            raise SlurmError(f"{problem}; stop it, and try again") from None
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
