"""Queries and cancels jobs with squeue, sacct and scancel, and records the jobs of each run.

A job is identified by its number and its name together, because a reinstalled cluster assigns the
same numbers again. sacct is optional, and is only asked about jobs that have left the queue.
"""

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.core.records.record import Record
from ablate.runs.record import RECORD_FILE, OutsideEnd
from ablate.slurm import commands
from ablate.slurm.commands import SlurmError, SlurmMissingError

JOBS_FILE = "jobs.jsonl"
LOCK_FILE = ".submission.lock"
LOCK_TIMEOUT_SECONDS = 600.0  # another process may be submitting the same study
BATCH_SIZE = 100  # names or numbers per command
# states of an unfinished job; accounting may still report one after the job has left the queue
UNFINISHED = (
    *("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED", "RESIZING"),
)
# messages of SLURM, and the prefix of a trial's own reason
OUT_OF_MEMORY = re.compile(r"\boom([-_]kill|: )|exceeded memory limit")
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

    Raises `ValueError` if the last line of `jobs.jsonl` is damaged.
    """
    try:
        lines = (folder / JOBS_FILE).read_text(encoding="utf-8").splitlines()
        return SubmittedJob.from_json(json.loads(lines[-1]), "the record") if lines else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        problem = f"the last line of {folder / JOBS_FILE} is damaged ({error})"
        raise ValueError(f"{problem}; delete it and run again") from None


def find_last_jobs(folders: Iterable[Path]) -> dict[Path, SubmittedJob]:
    """Returns the last job of each run folder that has one. Raises as `find_last_job`."""
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


def find_queued(folders: Iterable[Path]) -> dict[Path, SubmittedJob]:
    """Returns the run folders whose last job is in the queue. Raises `SlurmError`."""
    jobs = find_last_jobs(folders)
    states = query_states(jobs.values())
    return {folder: job for folder, job in jobs.items() if job.job_id in states}


def may_be_queued(jobs: Iterable[SubmittedJob]) -> bool:
    """Returns whether any job is in the queue; True if squeue fails, False if it is missing."""
    try:
        return bool(query_states(jobs))
    except SlurmMissingError:
        return False
    except SlurmError:
        return True


def query_ends(jobs: Iterable[SubmittedJob]) -> dict[str, str]:
    """Returns how jobs ended according to sacct, such as `CANCELLED by 0`, by `job_id`.

    Leaves out jobs that sacct considers unfinished; empty on a cluster without accounting.
    """
    wanted = {job.job_id: job for job in jobs}
    numbers = sorted({job.number for job in wanted.values()})
    ends: dict[str, str] = {}
    for start in range(0, len(numbers), BATCH_SIZE):
        batch = ",".join(numbers[start : start + BATCH_SIZE])
        command = ["sacct", "-X", "-n", "-P", "-j", batch, "-o", "JobID,JobName,State,ExitCode"]
        try:
            output = commands.run_command(command)
        except SlurmError:
            return ends  # a cluster without accounting
        for line in output.splitlines():
            job_id, name, state, code = [*line.split("|"), "", "", ""][:4]
            has_ended = not state.startswith(UNFINISHED)
            if has_ended and job_id in wanted and wanted[job_id].name == name:
                ends[job_id] = state if code in ("0:0", "") else f"{state}, exit code {code}"
    return ends


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
def submission_lock(folder: Path) -> Iterator[None]:
    """Locks the submissions of a study, so that two processes do not submit the same run.

    The lock covers both the query which runs are missing from the queue and their submission.
    `folder` holds the study's submissions. Raises `SlurmError` if another process holds the lock
    for longer than `LOCK_TIMEOUT_SECONDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_SECONDS)
    except Timeout:
        problem = f"another process has been submitting this study for {LOCK_TIMEOUT_SECONDS:.0f} s"
        raise SlurmError(f"{problem}; stop it, and try again") from None
    try:
        yield
    finally:
        lock.release()


def explain_end(
    job: SubmittedJob, end: str | None, *, has_started: bool = False
) -> tuple[OutsideEnd, str]:
    """Explains why a job left the queue before its run had ended.

    The job itself records the failures of its trials. What ended the job is therefore no failure
    of the run, except for too little memory or time, which would end it again.

    Args:
        job: the job.
        end: its end according to sacct; if None, the job's log is examined.
        has_started: whether the job had started to train the run.

    Returns:
        The state of the run, and the reason.
    """
    log = read_tail(Path(job.log))
    source = f"job {job.job_id}; see {job.log}" if Path(job.log).exists() else f"job {job.job_id}"
    if OUT_OF_MEMORY.search(log) or (end or "").startswith("OUT_OF_ME"):
        return "failed", f"oom: the job was killed because it ran out of memory ({source})"
    end = end or _find_kill(log)
    stopped: OutsideEnd = "preempted" if has_started else "cancelled"
    kinds: Mapping[str, tuple[OutsideEnd, str]] = {
        "CANCELLED": ("cancelled", "the job was cancelled"),
        "TIMEOUT": ("failed", "timeout: the job reached its time limit before its run was saved"),
        "NODE_FAIL": (stopped, "node: the job's node failed"),
        "PREEMPTED": ("preempted", "preempted, and not requeued"),
    }
    for prefix, (state, reason) in kinds.items():
        if (end or "").startswith(prefix):
            return state, f"{reason} ({source})"
    if end is None and not log:
        return "cancelled", f"the job left the queue before it started ({source})"
    detail = f", {end}" if end else ""
    lines = log.strip().splitlines()
    own_lines = [line for line in lines if not line.startswith(("srun: ", "slurmstepd: "))]
    last_line = (own_lines or lines or ["no output"])[-1]
    moment = "before its run did" if has_started else "before it reached its run"
    return stopped, f"node: the job ended {moment}{detail}: {last_line} ({source})"


def _find_kill(log: str) -> str | None:
    """Finds in a job's log why SLURM killed it, for clusters without sacct."""
    kills = re.findall(r"\*\*\* (?:STEP|JOB) .* CANCELLED AT \S+( DUE TO [A-Z ]+)?", log)
    if not kills:
        return None
    causes = {" DUE TO TIME": "TIMEOUT", " DUE TO NODE": "NODE_FAIL", " DUE TO PREEM": "PREEMPTED"}
    return next((end for cause, end in causes.items() if kills[-1].startswith(cause)), "CANCELLED")


def read_tail(log: Path, size: int = 4000) -> str:
    """Returns the last `size` characters of a log; "" if there is none."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-size:]
    except FileNotFoundError:
        return ""
