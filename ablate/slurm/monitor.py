"""The verbs of a study on a cluster, in lines of text: who is in the queue, cancel, try again."""

import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ablate.core.records.plan import StudyPlan
from ablate.runs import store
from ablate.runs.heartbeat import HeartbeatMonitor, read_heartbeat
from ablate.runs.lock import is_locked
from ablate.runs.record import reset_failed
from ablate.slurm import queue as slurm_queue
from ablate.slurm import reconcile
from ablate.slurm.commands import RefusedError
from ablate.slurm.queue import Submitted


def queue(plan: StudyPlan, runs: Path) -> list[str]:
    """Settles the runs whose jobs are gone; says what is queued, and why a canary has died."""
    given = {
        f: found
        for f in store.list_run_folders(plan, runs)
        if (found := slurm_queue.last(f)) is not None
    }
    if not given:
        return []
    try:
        lines = reconcile.reconcile(given)
    except RefusedError as error:
        return [f"cannot ask the queue: {error}"]
    traces = {found.canary: found for found in given.values() if found.canary}
    for canary, found in traces.items():
        if trace := reconcile.canary_trace(found):
            lines += [f"the canary in {canary} failed:", *(f"  {line}" for line in trace)]
    return lines


def queued(plan: StudyPlan, runs: Path) -> dict[Path, Submitted]:
    """Finds the runs of a plan that are in the queue. Raises `RefusedError`."""
    return slurm_queue.in_queue(store.list_run_folders(plan, runs))


class Vigil:
    """Looks at runs again and again, and tells once nobody has run them for `idle` seconds.

    A run lives while a process of this machine holds it, or its heartbeat is seen to change.
    """

    def __init__(self, idle: float) -> None:
        self.is_over = False  # nobody has, for so long
        self._idle = idle
        self._heartbeats = HeartbeatMonitor()
        self._busy_at = time.monotonic()

    def look(self, runs: Iterable[Path]) -> bool:
        """Looks at the runs; tells whether the vigil is over.

        The queue is asked only where nothing has run for so long. One that is silent may hold
        them; where this machine has none, heartbeats alone tell.
        """
        runs = list(runs)
        alive = [self._lives(folder) for folder in runs]  # each is looked at, whatever the others
        if any(alive):
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at >= self._idle:
            self.is_over = not slurm_queue.may_hold(filter(None, map(slurm_queue.last, runs)))
            self._busy_at = time.monotonic()
        return self.is_over

    def words(self, plans: Iterable[StudyPlan]) -> str:
        """Says that it is over, and how to go on with some plans."""
        commands = ", or ".join(again(plan) for plan in plans)
        way_out = f"to go on: {commands}" if commands else "to go on, run its study again"
        return f"nothing has run for {self._idle:g} s; {way_out}"

    def _lives(self, folder: Path) -> bool:
        if store.read_status(folder).state != "running":
            return False
        rises = self._heartbeats.update(folder, read_heartbeat(folder))
        return is_locked(folder) or rises


def again(plan: StudyPlan) -> str:
    """Returns the command that goes on with a saved plan."""
    return shlex.join(["ablate", "run", plan.file, *plan.overrides])


def release(plan: StudyPlan, runs: Path, kinds: Sequence[str]) -> list[str]:
    """Lets failed runs be tried again: all, or those whose kind of failure is one of `kinds`.

    Marks them cancelled, so that the study runs them again; returns a line for each. Raises
    `ValueError`, having changed none, where a run's record is damaged.
    """
    lines = []
    statuses = {folder: store.read_status(folder) for folder in store.list_run_folders(plan, runs)}
    for folder, status in statuses.items():
        if status.state == "failed" and (not kinds or status.failure in kinds):
            reset_failed(folder)
            lines.append(f"  {folder.name}: {status.reason}")
    return lines
