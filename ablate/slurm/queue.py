"""What the site says of jobs: squeue and sacct, second opinions beside the run folders.

A job is known by its number and its name together: a site that starts afresh gives numbers out
again. sacct is asked only about jobs that have left the queue, and need not be there.
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
from ablate.runs.record import OutsideEnd
from ablate.slurm import commands
from ablate.slurm.commands import NoSiteError, RefusedError

RECORD = "jobs.jsonl"
LOCK = ".queueing"
TURN_SECONDS = 600.0  # for another launcher of the study that is handing in its jobs
LONGEST = 100  # names or numbers in one command
# what accounting that lags behind the queue says of a job that is over
OPEN = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED", "RESIZING")
# SLURM's words, and how a trial's own reason begins
OUT_OF_MEMORY = re.compile(r"\boom([-_]kill|: )|exceeded memory limit")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submitted(Record):
    """A job that a run was submitted to; a line of `jobs.jsonl` in the run's folder."""

    job: str  # 123, or 123_4 in an array
    name: str  # unique to the submission
    log: str  # path of its output
    canary: str = ""  # the folder of the job that it waits for
    at: float = 0.0  # seconds since 1970, for people: clocks of two machines are never compared
    before: str = ""  # what `run.json` held when the job was handed in, as `record_of` names it

    @property
    def number(self) -> str:
        """Returns the number of the job, or of the array that it is in."""
        return self.job.partition("_")[0]


@dataclass(frozen=True)
class Place:
    """Where a job is in the queue."""

    state: str  # SLURM's word, PENDING
    reason: str  # SLURM's word, Resources


def remember(folder: Path, submitted: Submitted) -> None:
    """Adds a job to a run folder's `jobs.jsonl`, with the time and the state of the run."""
    with (folder / RECORD).open("a", encoding="utf-8") as file:
        line = replace(submitted, at=time.time(), before=record_of(folder))
        file.write(json.dumps(line.to_json()) + "\n")


def last(folder: Path) -> Submitted | None:
    """Returns the job that a run was last given to; None where it never was.

    Raises `ValueError` where what is written down of it is damaged.
    """
    try:
        lines = (folder / RECORD).read_text(encoding="utf-8").splitlines()
        return Submitted.from_json(json.loads(lines[-1]), "the record") if lines else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        problem = f"the last line of {folder / RECORD} is damaged ({error})"
        raise ValueError(f"{problem}; delete it and run again") from None


def record_of(folder: Path) -> str:
    """Returns a hash of a run's `run.json`; an empty text where there is none."""
    try:
        return hashlib.sha256((folder / "run.json").read_bytes()).hexdigest()[:16]
    except FileNotFoundError:
        return ""


def places(jobs: Iterable[Submitted]) -> dict[str, Place]:
    """Asks squeue which jobs are in the queue; returns their places by `Submitted.job`.

    Raises `RefusedError` where it does not answer.
    """
    wanted = {job.job: job for job in jobs}
    names = sorted({job.name for job in wanted.values()})
    found: dict[str, Place] = {}
    for start in range(0, len(names), LONGEST):
        some = ",".join(names[start : start + LONGEST])
        # -r: a task a line; names, for a number that is unknown makes squeue fail as a whole
        said = commands.call(["squeue", "-h", "-r", "--name", some, "-o", "%i|%j|%T|%r"])
        for line in said.splitlines():
            job, name, state, reason = [*line.split("|"), "", "", ""][:4]
            if job in wanted and wanted[job].name == name:
                found[job] = Place(state, reason)
    return found


def in_queue(folders: Iterable[Path]) -> dict[Path, Submitted]:
    """Finds the run folders whose last job is in the queue. Raises `RefusedError`."""
    given = {folder: found for folder in folders if (found := last(folder)) is not None}
    there = places(given.values())
    return {folder: found for folder, found in given.items() if found.job in there}


def may_hold(jobs: Iterable[Submitted]) -> bool:
    """Tells whether some job is in the queue, or may be as a silent one does not say.

    Where this machine has no queue there is none.
    """
    try:
        return bool(places(jobs))
    except NoSiteError:
        return False
    except RefusedError:
        return True


def ends(jobs: Iterable[Submitted]) -> dict[str, str]:
    """Asks sacct how jobs ended, `CANCELLED by 0`; returns what it knows, by `Submitted.job`.

    Nothing of a job that it takes to be open still, and nothing on a site without accounting.
    """
    wanted = {job.job: job for job in jobs}
    numbers = sorted({job.number for job in wanted.values()})
    found: dict[str, str] = {}
    for start in range(0, len(numbers), LONGEST):
        some = ",".join(numbers[start : start + LONGEST])
        command = ["sacct", "-X", "-n", "-P", "-j", some, "-o", "JobID,JobName,State,ExitCode"]
        try:
            said = commands.call(command)
        except RefusedError:
            return found  # a site without accounting
        for line in said.splitlines():
            job, name, state, code = [*line.split("|"), "", "", ""][:4]
            over = not state.startswith(OPEN)
            if over and job in wanted and wanted[job].name == name:
                found[job] = state if code in ("0:0", "") else f"{state}, exit code {code}"
    return found


def cancel(jobs: Iterable[Submitted]) -> None:
    """Takes jobs out of the queue. Raises `RefusedError`."""
    numbers = sorted({job.job for job in jobs})
    for start in range(0, len(numbers), LONGEST):
        commands.call(["scancel", *numbers[start : start + LONGEST]])


def take_back(numbers: Iterable[str]) -> None:
    """Takes jobs out of the queue, each by itself; warns of those that cannot be."""
    for number in numbers:
        try:
            commands.call(["scancel", number])
        except RefusedError as error:
            logger.warning("job %s is still in the queue: %s", number, error)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a study's other launchers from looking at the queue while inside.

    What one has seen missing it may hand in, once. `folder` is that of the study's submissions.
    Raises `RefusedError` where another launcher takes longer than `TURN_SECONDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=TURN_SECONDS)
    except Timeout:
        problem = f"another process has been submitting this study for {TURN_SECONDS:.0f} s"
        raise RefusedError(f"{problem}; end it, and try again") from None
    try:
        yield
    finally:
        lock.release()


def reason(job: Submitted, ended: str | None) -> tuple[OutsideEnd, str]:
    """Says why a job left the queue before its run had ended: a state and a reason.

    `ended` is what sacct says, None where it knows nothing: then the job's log is read.
    """
    words = tail(Path(job.log))
    where = f"job {job.job}; see {job.log}" if Path(job.log).exists() else f"job {job.job}"
    if OUT_OF_MEMORY.search(words) or (ended or "").startswith("OUT_OF_ME"):
        return "failed", f"oom: the job was killed for its memory ({where})"
    ended = ended or _killed(words)
    kinds: Mapping[str, tuple[OutsideEnd, str]] = {
        "CANCELLED": ("cancelled", "the job was cancelled"),
        "TIMEOUT": ("failed", "timeout: the job reached its time limit before it could be saved"),
        "NODE_FAIL": ("failed", "node: the job's node failed"),
        "PREEMPTED": ("preempted", "preempted, and not requeued"),
    }
    for word, (state, told) in kinds.items():
        if (ended or "").startswith(word):
            return state, f"{told} ({where})"
    if ended is None and not words:
        return "cancelled", f"the job left the queue before it started ({where})"
    said = f", {ended}" if ended else ""
    lines = words.strip().splitlines()
    own = [line for line in lines if not line.startswith(("srun: ", "slurmstepd: "))]
    last = (own or lines or ["it wrote nothing"])[-1]  # the job's own words, where it has any
    return "failed", f"error: the job ended before its run{said}: {last} ({where})"


def _killed(words: str) -> str | None:
    """Reads from a job's log what ended it, for a site without sacct."""
    found = re.findall(r"\*\*\* (?:STEP|JOB) .* CANCELLED AT \S+( DUE TO [A-Z ]+)?", words)
    if not found:
        return None
    causes = {" DUE TO TIME": "TIMEOUT", " DUE TO NODE": "NODE_FAIL", " DUE TO PREEM": "PREEMPTED"}
    return next((word for due, word in causes.items() if found[-1].startswith(due)), "CANCELLED")


def tail(log: Path, size: int = 4000) -> str:
    """Returns the last `size` characters of a log; an empty text where there is none."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-size:]
    except FileNotFoundError:
        return ""
