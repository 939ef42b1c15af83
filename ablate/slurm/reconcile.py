"""How a run that was given to a cluster ended: its own word first, then the site's."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ablate.core.records.jobs import CanaryFailure, EndMark
from ablate.core.records.run import Environment
from ablate.runs import store
from ablate.runs.lock import is_locked
from ablate.runs.record import ENVIRONMENT_FILE, read_record, replace_end
from ablate.slurm import queue as slurm_queue
from ablate.slurm.canary import FAILURE_FILE, canary_name
from ablate.slurm.commands import RefusedError
from ablate.slurm.queue import Submitted

MARKS = "ended"  # a file a run, where a job writes down that it has ended it


class End(NamedTuple):
    """What a run came to."""

    state: Literal["done", "failed"]
    reason: str | None
    trained: bool  # by the job that was last given the run
    seconds: float  # of the training


def end_of(
    folder: Path, given: Submitted | None, probes: Mapping[str, Mapping[str, Any]]
) -> End | None:
    """Reads from a run's folder whether it has ended, and how; None where it has not.

    A failure counts only once the job that was last given the run, `given`, has said so: one from
    before it was tried again stands in the folder until then. `probes` have every default written
    out; a run that lacks a score of one is not done.
    """
    status = store.read_status(folder)
    mark = EndMark.find(_mark_of(folder, given)) if given is not None else None
    if given is not None and mark is None and is_locked(folder):
        return None  # its job has not let go of it yet
    trained = mark is not None and mark.trained
    if status.state == "done" and not store.find_missing_probes(folder, probes):
        return End("done", None, trained, status.seconds or 0.0)
    if status.state in ("failed", "done") and mark is not None:  # trained, and not all scored
        return End("failed", status.reason, trained, status.seconds or 0.0)
    return None


def _mark_of(folder: Path, given: Submitted) -> Path:
    """Names the file in which a job says that it has ended a run."""
    return Path(given.log).parent.parent / MARKS / f"{folder.name}.json"


def settle(folder: Path, given: Submitted, ended: str | None) -> None:
    """Writes into `run.json` why a run has not ended though its job is gone.

    `ended` is what sacct says of the job, if anything.
    """
    record = read_record(folder)
    state, reason = slurm_queue.reason(given, ended)
    if word := _canary_word(given):
        state, reason = "cancelled", f"the canary failed, so nothing was run: {word}"
    elif record.state == "preempted" and state != "cancelled":
        told = str(record.reason)  # and perhaps settled before, by this very job's end
        state, reason = "preempted", told if told.endswith(reason) else f"{told}; {reason}"
    replace_end(folder, state, reason)


def reconcile(folders: Iterable[Path]) -> list[str]:
    """Settles the runs whose jobs are gone; returns a line for each that is still queued.

    Raises `RefusedError` where the queue does not answer.
    """
    given = {folder: found for folder in folders if (found := slurm_queue.last(folder)) is not None}
    open_ones = {f: found for f, found in given.items() if not _mark_of(f, found).exists()}
    if not open_ones:
        return []
    places = slurm_queue.places(open_ones.values())
    gone = [f for f, found in open_ones.items() if found.job not in places and _is_open(f, found)]
    ends = slurm_queue.ends(open_ones[folder] for folder in gone)
    for folder in gone:
        settle(folder, open_ones[folder], ends.get(open_ones[folder].job))
    return [
        f"  {folder.name}  job {found.job}  {place.state} {place.reason}".rstrip()
        for folder, found in open_ones.items()
        if (place := places.get(found.job)) is not None
    ]


def _canary_word(given: Submitted) -> str | None:
    """Returns what made the canary that a job waits for fail; None where it did not."""
    failure = CanaryFailure.find(Path(given.canary) / FAILURE_FILE) if given.canary else None
    if failure is not None:
        return failure.reason
    for folder in _canaries(given):
        status = store.read_status(folder)
        if status.state == "failed":
            return status.reason
    killed = _killed(given)
    if killed is not None:  # asked of the site once, for all that wait
        CanaryFailure(reason=killed).write(Path(given.canary) / FAILURE_FILE)
    return killed


def _killed(given: Submitted) -> str | None:
    """Returns how the site has ended a canary before it had said how it ends; else None."""
    if not given.canary or Path(given.log).exists():  # a job that has begun had no reason to wait
        return None
    home = Path(given.canary)
    marks = [EndMark.find(home / MARKS / f"{folder.name}.json") for folder in _canaries(given)]
    logs = sorted((home / "logs").glob("*.out"))
    if not logs or (marks and all(mark is not None and mark.state == "done" for mark in marks)):
        return None
    job = Submitted(logs[-1].name.partition("_")[0], canary_name(given.name), str(logs[-1]))
    try:
        if slurm_queue.places([job]):
            return None
    except RefusedError:
        return None
    return slurm_queue.reason(job, slurm_queue.ends([job]).get(job.job))[1]


def canary_trace(given: Submitted) -> list[str]:
    """Returns the log of the canary's failed trial, traceback and all."""
    for folder in _canaries(given):
        if store.read_status(folder).state == "failed":
            logs = sorted(folder.glob("attempts/*/log.txt"))
            return logs[-1].read_text(encoding="utf-8").splitlines() if logs else []
    return []


def _canaries(given: Submitted) -> list[Path]:
    return (
        sorted(p.parent for p in Path(given.canary).glob("*/config.json")) if given.canary else []
    )


def _is_open(folder: Path, given: Submitted) -> bool:
    """Tells whether a run waits for its job: nothing that ends it has been written since."""
    if is_locked(folder):
        return False
    state = store.read_status(folder).state
    if state == "running":  # on another machine, as it says; by its job, which is gone
        return _is_at_work(folder, given)
    return (
        state in ("stale", "preempted", "planned") or slurm_queue.record_of(folder) == given.before
    )


def _is_at_work(folder: Path, given: Submitted) -> bool:
    """Tells whether it is a job's own attempt that is under way in a run's folder."""
    environment = Environment.find(folder / ENVIRONMENT_FILE) or Environment()
    return environment.slurm.get("SLURM_JOB_NAME") == given.name
