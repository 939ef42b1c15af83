"""A sweep whose points are taken by jobs of a cluster: submitted, and followed to its end."""

import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ablate.launching import crew, ledger
from ablate.launching.commands import RefusedError
from ablate.launching.profile import Profile
from ablate.launching.watch import say, stage
from ablate.launching.where import Asked
from ablate.schema import Study
from ablate.sections.sweep import SweepError
from ablate.sweeping import tuning
from ablate.sweeping.desk import Desk
from ablate.sweeping.storage import close_storage, reachable
from ablate.sweeping.tuning import Plan

GONE = 2  # polls in a row that must find no worker in the queue before they count as gone


def sweep(
    study: Study,
    plan: Plan,
    profile: Profile,
    folders: ledger.Folders,
    where: Asked,
    command: Sequence[str],
    console: Console,
) -> bool:
    """Has jobs take the points of a sweep; tells whether it is over, and its best can be trained.

    `command` is what a job runs, `python` apart. Raises `RefusedError` in the site's words and
    `SweepError` where the jobs have ended before the sweep.
    """
    assert study.sweep is not None
    folder = crew.folder_of(folders.reports, study.name)
    with reachable(study.sweep.storage or str(tuning.journal(folders.reports, study.name))):
        desk = tuning.open_desk(study, plan, folders)
        try:
            left = desk.total - desk.num_tried
            count = min(study.sweep.workers, max(left, 1))
            name = f"{study.name}-sweep"
            if not left or where.dry_run:
                if left:
                    say(console, crew.text(profile, folder, name, count))
                return not left
            settings = {"settings": study.tree.plain()}
            there = crew.enlist(profile, folder, name, command, count, settings)
            number = there[0].number
            say(console, f"{len(there)} sweep workers are queued as job {number}")
            if where.watch:
                _follow(desk, folder, profile.poll_seconds, console)
                return True
        finally:
            close_storage(desk.storage)
    again = shlex.join(["ablate", "run", str(study.file), *study.overrides])
    say(console, f"once they are done, train the best: {again} --slurm {profile.name}")
    return False


def _follow(desk: Desk, folder: Path, seconds: float, console: Console) -> None:
    absent = 0
    with stage(console, "sweep") as heard:
        while desk.num_tried < desk.total:
            heard({"event": "progress", "done": desk.num_tried, "total": desk.total})
            with suppress(RefusedError):  # no answer says nothing about the jobs
                absent = 0 if crew.crew(folder) else absent + 1
            if absent >= GONE and desk.num_tried < desk.total:
                problem = f"the workers have ended with {desk.num_tried} of {desk.total} points"
                raise SweepError(f"{problem} tried; their logs: {crew.logs(folder)}")
            time.sleep(seconds)
