"""Determines which jobs have left the queue, and why: with sacct, scontrol and the jobs' logs."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ablate.runs.record import OutsideEnd
from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError
from ablate.slurm.queue import SubmittedJob

SECOND_LOOK_SECONDS = 1.0
UNKNOWN_JOB = "Invalid job id"  # in scontrol's message on a job that slurmctld does not know
# states of an unfinished job; accounting may still report one after the job has left the queue
UNFINISHED = (
    *("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED", "RESIZING"),
)
# messages of SLURM, and the prefix of a trial's own reason
OUT_OF_MEMORY = re.compile(r"\boom([-_]kill|: )|exceeded memory limit")


def find_gone(jobs: Iterable[SubmittedJob], *, second_look: bool = True) -> dict[str, str | None]:
    """Returns the jobs that have left the queue, with their ends according to sacct, if known.

    An empty answer of squeue is no proof: it may be wrapped, or hide the jobs of other users. A
    job has left only if squeue misses it twice and neither sacct nor scontrol lists it as
    unfinished.

    Args:
        jobs: the jobs, by `job_id` in the result.
        second_look: whether to query squeue again; False if the caller has queried it twice.

    Raises:
        SlurmError: squeue fails.
    """
    wanted = list(jobs)
    states = slurm_queue.query_states(wanted)
    absent = [job for job in wanted if job.job_id not in states]
    history = query_history(absent)
    unknown = [job for job in absent if not _has_ended(history.get(job.job_id))]
    if unknown and second_look:
        time.sleep(SECOND_LOOK_SECONDS)
        states = slurm_queue.query_states(unknown)
    unfinished = _query_controller(unknown)
    gone: dict[str, str | None] = {}
    for job in absent:
        end = history.get(job.job_id)
        if _has_ended(end):
            gone[job.job_id] = end
        elif job.job_id not in states and not unfinished.get(job.job_id, end is not None):
            gone[job.job_id] = None
    return gone


def _query_controller(jobs: Sequence[SubmittedJob]) -> dict[str, bool]:
    """Returns whether jobs are unfinished according to scontrol, by `job_id`.

    Jobs about which scontrol gives no answer are left out.
    """
    unfinished: dict[str, bool] = {}
    for number in sorted({job.number for job in jobs}):
        own = [job for job in jobs if job.number == number]
        try:
            output = commands.run_command(["scontrol", "-o", "show", "job", number])
        except SlurmError as error:
            if UNKNOWN_JOB in str(error):
                unfinished |= dict.fromkeys((job.job_id for job in own), False)
            continue
        active = {
            (job_id, fields.get("JobName"))
            for fields in map(_parse_fields, output.splitlines())
            if fields.get("JobState", "").startswith(UNFINISHED)
            for job_id in expand_job_ids(number, fields.get("ArrayTaskId"))
        }
        unfinished |= {job.job_id: (job.job_id, job.name) in active for job in own}
    return unfinished


def _parse_fields(line: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in line.split())
    return {key: value for key, _, value in pairs}


def expand_job_ids(number: str, tasks: str | None) -> list[str]:
    """Expands the tasks of an array, `0-2,5%4`, to job ids; a plain job has none."""
    if not tasks:
        return [number]
    job_ids = []
    for part in tasks.strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            indices = range(int(first), int(last if last.isdecimal() else first) + 1)
            job_ids += [f"{number}_{index}" for index in indices]
    return job_ids


def _has_ended(state: str | None) -> bool:
    return state is not None and not state.startswith(UNFINISHED)


def query_history(jobs: Iterable[SubmittedJob]) -> dict[str, str]:
    """Returns the states of jobs according to sacct, by `job_id`; empty without accounting.

    The state of a job that has failed ends with its exit code.
    """
    wanted = {job.job_id: job for job in jobs}
    numbers = sorted({job.number for job in wanted.values()})
    states: dict[str, str] = {}
    for start in range(0, len(numbers), slurm_queue.BATCH_SIZE):
        batch = ",".join(numbers[start : start + slurm_queue.BATCH_SIZE])
        command = ["sacct", "-X", "-n", "-P", "-j", batch, "-o", "JobID,JobName,State,ExitCode"]
        try:
            output = commands.run_command(command)
        except SlurmError:
            return states  # a cluster without accounting
        for line in output.splitlines():
            listed, name, state, code = [*line.split("|"), "", "", ""][:4]
            number, _, tasks = listed.partition("_")
            for job_id in expand_job_ids(number, tasks):
                if job_id in wanted and wanted[job_id].name == name:
                    states[job_id] = state if code in ("0:0", "") else f"{state}, exit code {code}"
    return states


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
