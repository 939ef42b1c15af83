"""A sweep whose points are taken by jobs of a cluster: submitted, and followed to its end."""

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ablate.config.study import Study
from ablate.config.sweep import SweepError
from ablate.core.records.sweep import SweepLimit
from ablate.executors.progress import print_line, progress_bar
from ablate.runs import store
from ablate.slurm import sweep_workers
from ablate.slurm.commands import RefusedError
from ablate.slurm.options import Asked
from ablate.slurm.profile import Profile
from ablate.sweep import tuning
from ablate.sweep.runner import Desk
from ablate.sweep.storage import close_storage, reachable
from ablate.sweep.tuning import Plan

GONE = 2  # polls in a row that must find no worker in the queue before they count as gone
LIMIT_FILE = "time_limit.json"  # beside the record of the workers


def sweep(
    study: Study,
    plan: Plan,
    profile: Profile,
    folders: store.Folders,
    where: Asked,
    command: Sequence[str],
    console: Console,
) -> bool:
    """Has jobs take the points of a sweep; tells whether it is over, and its best can be trained.

    `command` is what a job runs, `python` apart. Raises `RefusedError` in the site's words and
    `SweepError` where the jobs have ended before the sweep.
    """
    assert study.sweep is not None
    folder = sweep_workers.folder_of(folders.reports, study.name)
    with reachable(study.sweep.storage or str(tuning.journal(folders.reports, study.name))):
        desk = tuning.open_desk(study, plan, folders)
        limit = _limit(desk, study.sweep.minutes, folder)
        try:
            over = limit.is_past and not sweep_workers.may_be_queued(folder)
            left = 0 if over else desk.total - desk.num_tried
            count = min(study.sweep.workers, max(left, 1))
            name = f"{study.name}-sweep"
            if not left or where.dry_run:
                if left:
                    print_line(console, sweep_workers.text(profile, folder, name, count))
                return not left
            settings = {"settings": study.tree.plain()}
            there = sweep_workers.enlist(profile, folder, name, command, count, settings)
            limit.start()
            number = there[0].number
            print_line(console, f"{len(there)} sweep workers are queued as job {number}")
            if where.watch:
                _follow(desk, limit, profile.poll_seconds, console)
                return True
        finally:
            close_storage(desk.storage)
    again = shlex.join(["ablate", "run", str(study.file), *study.overrides])
    print_line(console, f"once they are done, train the best: {again} --slurm {profile.name}")
    return False


@dataclass(frozen=True)
class _Limit:
    """The time limit of a sweep, from when its points were first handed over."""

    folder: Path  # of the workers
    searches: list[str]  # other searches, or more points, get a time of their own
    points: int
    minutes: float | None

    @property
    def is_past(self) -> bool:
        """Says whether the time is over; never where none was set."""
        recorded = self._read()
        return recorded is not None and time.time() > recorded.ends

    def start(self) -> None:
        """Writes down when the time is over, unless it runs already."""
        if self.minutes is not None and self._read() is None:
            SweepLimit(
                searches=self.searches,
                points=self.points,
                minutes=self.minutes,
                ends=time.time() + 60 * self.minutes,
            ).write(self.folder / LIMIT_FILE)

    def _read(self) -> SweepLimit | None:
        """Returns the limit that was recorded for these points; None if there is none."""
        recorded = SweepLimit.find(self.folder / LIMIT_FILE)
        if recorded is None:
            return None
        known = (recorded.searches, recorded.points, recorded.minutes)
        return recorded if known == (self.searches, self.points, self.minutes) else None


def _limit(desk: Desk, minutes: float | None, folder: Path) -> _Limit:
    names = [search.name for search in desk.searches]
    return _Limit(folder, names, desk.total, minutes)


def _follow(desk: Desk, limit: _Limit, seconds: float, console: Console) -> None:
    absent, folder = 0, limit.folder
    with progress_bar(console, "sweep") as heard:
        while desk.num_tried < desk.total:
            heard({"event": "progress", "done": desk.num_tried, "total": desk.total})
            with suppress(RefusedError):  # no answer says nothing about the jobs
                absent = 0 if sweep_workers.crew(folder) else absent + 1
            if absent >= GONE and limit.is_past:
                return
            if absent >= GONE and desk.num_tried < desk.total:
                problem = f"the workers have ended with {desk.num_tried} of {desk.total} points"
                raise SweepError(f"{problem} tried; their logs: {sweep_workers.logs(folder)}")
            time.sleep(seconds)
