"""Shows a study's queued runs, resets its failed runs, and detects that nothing runs any more."""

import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ablate.core.records.plan import StudyPlan
from ablate.runs import store
from ablate.runs.heartbeat import HeartbeatMonitor, read_heartbeat
from ablate.runs.lock import is_locked
from ablate.runs.record import reset_failed
from ablate.slurm import queue as slurm_queue
from ablate.slurm import reconcile, submissions
from ablate.slurm.commands import SlurmError, SlurmMissingError
from ablate.slurm.queue import SubmittedJob
from ablate.slurm.reconcile import QueuedRun


class StudyQueue(NamedTuple):
    """What is in the queue for a study, and what is wrong with it."""

    runs: dict[Path, QueuedRun]  # by absolute run folder
    problems: list[str]


def list_runs(plan: StudyPlan, folders: store.Folders) -> list[Path]:
    """Lists the absolute run folders of a plan, and those that were submitted for its study."""
    planned = [folder.absolute() for folder in store.list_run_folders(plan, folders.runs)]
    home = submissions.get_folder(folders.reports, plan.study)
    return list(dict.fromkeys([*planned, *submissions.list_runs(home)]))


def reconcile_study(plan: StudyPlan, folders: store.Folders) -> StudyQueue:
    """Records the ends of a study's runs whose jobs have left the queue.

    Returns the runs that are still queued, with those that are no longer in the plan.
    """
    try:
        submissions.try_recover_jobs(submissions.get_folder(folders.reports, plan.study))
        jobs = slurm_queue.find_last_jobs(list_runs(plan, folders))
        queued = reconcile.reconcile_runs(jobs) if jobs else {}
    except SlurmError as error:
        return StudyQueue({}, [f"cannot query the queue: {error}"])
    problems = []
    for canary, job in {job.canary: job for job in jobs.values() if job.canary}.items():
        if log := reconcile.read_canary_log(job):
            problems += [f"the canary in {canary} failed:", *(f"  {line}" for line in log)]
    return StudyQueue(queued, problems)


def find_queued_jobs(plan: StudyPlan, folders: store.Folders) -> dict[Path, SubmittedJob]:
    """Returns the jobs in the queue that were submitted for a study, by run folder.

    Raises `SlurmError` if squeue fails.
    """
    submissions.try_recover_jobs(submissions.get_folder(folders.reports, plan.study))
    return reconcile.find_queued(list_runs(plan, folders))


def find_removed_jobs(plan: StudyPlan, folders: store.Folders) -> dict[Path, SubmittedJob]:
    """Returns the queued jobs of runs that are no longer in the plan. Raises `SlurmError`."""
    planned = {folder.name for folder in store.list_run_folders(plan, folders.runs)}
    jobs = find_queued_jobs(plan, folders)
    return {folder: job for folder, job in jobs.items() if folder.name not in planned}


def find_queued_folders(folders: store.Folders) -> set[Path]:
    """Returns the run folders that are, or may be, in the queue for any study."""
    homes = folders.reports.glob("*/slurm/")
    runs = [run for home in homes for run in submissions.list_runs(home)]
    try:
        return set(reconcile.find_queued(runs))
    except SlurmMissingError:
        return set()
    except SlurmError:
        return set(runs)


class IdleTimeout:
    """Expires once no process has worked on a set of runs for `idle` seconds.

    A process works on a run if it holds the run's lock on this machine, or if the run's heartbeat
    changes between two updates.

    Args:
        idle: Seconds without work after which it expires.
        clock: Returns the time in seconds.
    """

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.has_expired = False
        self._idle = idle
        self._clock = clock
        self._heartbeats = HeartbeatMonitor()
        self._active_at = clock()

    def update(self, runs: Iterable[Path]) -> bool:
        """Examines the runs and returns whether the timeout has expired.

        The queue is only queried after `idle` seconds. If squeue fails, the runs may be queued and
        the timeout starts anew; if it is not installed, only heartbeats count.
        """
        runs = list(runs)
        active = [self._is_active(folder) for folder in runs]  # a list: each heartbeat is recorded
        if any(active):
            self._active_at = self._clock()
        elif self._clock() - self._active_at >= self._idle:
            jobs = slurm_queue.find_last_jobs(runs).values()
            self.has_expired = not slurm_queue.may_be_queued(jobs)
            self._active_at = self._clock()
        return self.has_expired

    def format_message(self, plans: Iterable[StudyPlan]) -> str:
        """Returns a message that nothing runs, with the commands that resume some plans."""
        commands = ", or ".join(get_resume_command(plan) for plan in plans)
        remedy = f"to go on: {commands}" if commands else "to go on, run its study again"
        return f"nothing has run for {self._idle:g} s; {remedy}"

    def _is_active(self, folder: Path) -> bool:
        if store.read_status(folder).state != "running":
            return False
        has_changed = self._heartbeats.update(folder, read_heartbeat(folder))
        return is_locked(folder) or has_changed


def get_resume_command(plan: StudyPlan) -> str:
    """Returns the shell command that resumes the study of a saved plan."""
    return shlex.join(["ablate", "run", plan.file, *plan.overrides])


def reset_failed_runs(plan: StudyPlan, runs: Path, kinds: Sequence[str]) -> list[str]:
    """Marks failed runs of a study as cancelled, so that the study runs them again.

    Args:
        plan: the study.
        runs: the folder of runs.
        kinds: only these kinds of failure; empty for all.

    Returns:
        A line of text for each run that was reset.

    Raises:
        ValueError: the record of a run is damaged; none was changed.
    """
    lines = []
    statuses = {folder: store.read_status(folder) for folder in store.list_run_folders(plan, runs)}
    for folder, status in statuses.items():
        if status.state == "failed" and (not kinds or status.failure in kinds):
            reset_failed(folder)
            lines.append(f"  {folder.name}: {status.reason}")
    return lines


def count_unfinished(plan: StudyPlan, runs: Path) -> int:
    """Counts the runs of a study that were cancelled, such as after a failed canary."""
    folders = store.list_run_folders(plan, runs)
    return sum(store.read_status(folder).state in ("cancelled", "preempted") for folder in folders)
