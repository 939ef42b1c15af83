"""Runs a sweep on a SLURM cluster: submits jobs that evaluate points, and waits for them."""

import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ablate.config.snapshot import StudySnapshot
from ablate.config.study import Study
from ablate.config.sweep import SweepError
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.plan import StudyPlan
from ablate.core.records.sweep import SweepLimit
from ablate.executors.progress import print_line, progress_bar
from ablate.runs import store
from ablate.slurm import command_array
from ablate.slurm.commands import SlurmError
from ablate.slurm.options import SlurmOptions
from ablate.slurm.profile import Profile
from ablate.sweep import tuning
from ablate.sweep.runner import SweepRunner
from ablate.sweep.storage import close_storage, storage_errors

ABSENT_POLLS = 2  # polls in a row without workers in the queue after which they have ended
LIMIT_FILE = "time_limit.json"  # in the folder of the workers


def sweep_on_cluster(
    study: Study,
    plan: StudyPlan,
    profile: Profile,
    folders: store.Folders,
    options: SlurmOptions,
    console: Console,
) -> bool:
    """Submits jobs that evaluate the points of a sweep.

    Args:
        study: A study with a sweep.
        plan: Its plan.
        profile: The cluster.
        folders: Where runs and reports are.
        options: SLURM options of the command line.
        console: For messages.

    Returns:
        Whether the sweep is finished, so that its best points can be trained.

    Raises:
        SlurmError: The cluster refuses the jobs.
        SweepError: The jobs have ended before the sweep.
    """
    assert study.sweep is not None
    folder = command_array.get_folder(folders.reports, study.name, "sweep")
    name = f"{study.name}-sweep"
    journal = tuning.get_journal(folders.reports, study.name)
    if options.dry_run and study.sweep.storage is None and not journal.exists():
        count = min(study.sweep.workers, study.sweep.trials)
        print_line(console, command_array.format_sbatch(profile, folder, name, count))
        return False
    with storage_errors(study.sweep.storage or str(journal)):
        runner = tuning.open_runner(study, plan, folders)
        limit = _create_limit(runner, study.sweep.minutes, folder)
        try:
            finished = limit.is_past and not command_array.may_be_queued(folder)
            left = 0 if finished else runner.num_points - runner.num_finished
            count = min(study.sweep.workers, max(left, 1))
            if not left or options.dry_run:
                if left:
                    print_line(console, command_array.format_sbatch(profile, folder, name, count))
                return not left
            arguments = ["sweep", "--workers", str(max(1, profile.gpus) * profile.trials_at_once)]
            snapshot = StudySnapshot.create(study)
            workers = command_array.submit_array(profile, folder, name, snapshot, arguments, count)
            limit.start()
            number = workers[0].number
            print_line(console, f"{len(workers)} sweep workers are queued as job {number}")
            if options.watch:
                _wait(runner, limit, profile.poll_seconds, console)
                return True
        finally:
            close_storage(runner.storage)
    resume = shlex.join(["ablate", "run", str(study.file), *study.overrides])
    print_line(console, f"once they are done, train the best: {resume} --slurm {profile.name}")
    return False


@dataclass(frozen=True)
class _TimeLimit:
    """The time limit of a sweep, from the first submission of its points."""

    folder: Path  # folder of the workers
    searches: list[str]  # other searches, or more points, start a new limit
    points: int
    minutes: float | None

    @property
    def is_past(self) -> bool:
        """Whether the time is over; False without a limit."""
        recorded = self._read()
        return recorded is not None and time.time() > recorded.ends

    def start(self) -> None:
        """Records when the time is over, unless the limit has started already."""
        if self.minutes is not None and self._read() is None:
            SweepLimit(
                searches=self.searches,
                points=self.points,
                minutes=self.minutes,
                ends=time.time() + 60 * self.minutes,
            ).write(self.folder / LIMIT_FILE)

    def _read(self) -> SweepLimit | None:
        """Returns the recorded limit of these points, or None."""
        recorded = SweepLimit.find(self.folder / LIMIT_FILE)
        if recorded is None:
            return None
        key = (recorded.searches, recorded.points, recorded.minutes)
        return recorded if key == (self.searches, self.points, self.minutes) else None


def _create_limit(runner: SweepRunner, minutes: float | None, folder: Path) -> _TimeLimit:
    names = [search.name for search in runner.searches]
    return _TimeLimit(folder, names, runner.num_points, minutes)


def _wait(runner: SweepRunner, limit: _TimeLimit, seconds: float, console: Console) -> None:
    """Waits for the points. Raises `SweepError` if the workers end too early."""
    absent, folder, total = 0, limit.folder, runner.num_points
    with progress_bar(console, "sweep") as on_progress:
        while runner.num_finished < total:
            on_progress(ProgressMessage(done=runner.num_finished, total=total))
            with suppress(SlurmError):  # if squeue fails, nothing is known about the jobs
                absent = 0 if command_array.find_queued(folder) else absent + 1
            if absent >= ABSENT_POLLS and limit.is_past:
                return
            if absent >= ABSENT_POLLS and runner.num_finished < total:
                problem = f"the workers ended after {runner.num_finished} of {total} points"
                raise SweepError(f"{problem}; their logs: {command_array.get_log_folder(folder)}")
            time.sleep(seconds)
