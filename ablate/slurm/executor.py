"""Runs on a cluster: the same jobs as the local pool's, as arrays that sbatch is handed.

What a run came to is read from its folder. The queue is asked only whether a job is still there,
and sacct only why one is gone.
"""

import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.core.io import write_json
from ablate.core.records.messages import ProgressMessage
from ablate.runs import store
from ablate.runs.job import ProgressListener, RunJob, RunOutcome
from ablate.runs.lock import is_locked
from ablate.slurm import code_snapshot, commands, reconcile
from ablate.slurm import queue as slurm_queue
from ablate.slurm.arrays import Group, grouped
from ablate.slurm.commands import LimitError, RefusedError, RestRefusedError
from ablate.slurm.profile import Profile
from ablate.slurm.queue import Place, Submitted
from ablate.slurm.resources import Needs

GONE = 2  # polls in a row that must not find a job in the queue, before it counts as gone


@dataclass
class Submission:
    """What one call of sbatch, or several of the same array, have put into the queue."""

    jobs: int = 0  # run folders
    numbers: list[str] = field(default_factory=list)  # of the arrays
    canaries: list[str] = field(default_factory=list)
    already: int = 0  # run folders that were in the queue before
    waiting: list[RunJob] = field(default_factory=list)  # that the site lets in later
    words: str = ""  # the site's, on why they wait

    def describe(self) -> list[str]:
        """Says it in a line or two."""
        lines = []
        if self.numbers:
            arrays = ", ".join(self.numbers)
            after = f", after canary job {', '.join(self.canaries)}" if self.canaries else ""
            lines.append(f"submitted {self.jobs} runs as job {arrays}{after}")
        if self.already:
            lines.append(f"{self.already} runs are already in the queue")
        if self.waiting:
            lines.append(f"{len(self.waiting)} runs wait for room in the queue: {self.words}")
        return lines


class Cluster:
    """A site, what a study asks of it, and the folder of the study's submissions.

    `cache` is the folder of decoded clips; it and the run folders must be seen by the site's nodes.
    """

    def __init__(self, needs: Needs, folder: Path, cache: Path, *, study: str) -> None:
        self.needs = needs
        self._folder = folder.absolute()
        self._cache = cache.absolute()
        self._study = study

    @property
    def profile(self) -> Profile:
        """The site as the profile describes it, whatever some levels ask."""
        return self.needs.profile

    def run(self, jobs: Sequence[RunJob], listener: ProgressListener) -> list[RunOutcome]:
        """Submits the jobs and follows them to their ends, as `Pool.run`. Raises as `submit`."""
        return self.follow(jobs, listener, waiting=self.submit(jobs).waiting)

    def text(self, jobs: Sequence[RunJob]) -> str:
        """Returns what `submit` would hand to sbatch; submits nothing. Raises as `submit`."""
        parts = []
        for group in grouped(jobs, self.needs, self._folder / "SUBMISSION"):
            if group.canary is not None:
                parts.append(group.text(group.canary, self._study))
            after = "CANARY" if group.canary is not None else ""
            parts += [group.text(file, self._study, after) for file in group.arrays]
        return "\n".join(parts)

    def submit(self, jobs: Sequence[RunJob]) -> Submission:
        """Queues the jobs that are not in the queue yet.

        Where the site's limit on jobs is reached, the rest is returned as `waiting`. Raises
        `RefusedError`, queueing none, and `StudyError` where what levels ask does not go together.
        """
        with slurm_queue.alone(self._folder):
            queued = slurm_queue.in_queue(job.folder for job in jobs)
            done = Submission(already=len(queued))
            missing = [job for job in jobs if job.folder not in queued]
            if missing:
                self._submit(missing, done)
        return done

    def _submit(self, missing: Sequence[RunJob], done: Submission) -> None:
        """Queues jobs, and writes down in `done` which; all or, where it raises, none."""
        home = self._folder / secrets.token_hex(4)
        name = f"{self._study}-{home.name}"
        groups = grouped(missing, self.needs, home)
        try:
            self._write(home, groups, missing[0].probes)
            for group in groups:
                for file in filter(None, (group.canary, *group.arrays)):
                    commands.rehearse(group.sbatch(file, name))
            self._queue(groups, name, done)
        except BaseException:
            slurm_queue.take_back([*done.canaries, *done.numbers])
            shutil.rmtree(home, ignore_errors=True)
            raise

    def follow(
        self,
        jobs: Sequence[RunJob],
        listener: ProgressListener,
        *,
        waiting: Sequence[RunJob] = (),
        seconds: float | None = None,
    ) -> list[RunOutcome]:
        """Waits until every job has ended, `seconds` at most; returns those that have.

        Submits those of `waiting` as the site lets them in, and raises `RefusedError` where it
        will not, `RestRefusedError` where others go on. The queue is polled every `poll_seconds`
        of the profile.
        """
        started = time.monotonic()
        left, absent = dict(enumerate(jobs)), Counter[int]()
        outcomes: list[RunOutcome] = []
        held_back = list(waiting)
        while left:
            outside = {job.folder for job in held_back}  # an old job says nothing of these
            given = {
                index: None if job.folder in outside else slurm_queue.last(job.folder)
                for index, job in left.items()
            }
            places = _places(given.values())
            for index, job in list(left.items()):
                outcome = self._outcome(job, given[index], places, absent, index)
                if outcome is not None:
                    del left[index]
                    outcomes.append(outcome)
                    listener.on_finished(index, outcome)
                elif index not in absent:
                    progress = ProgressMessage(label=_label(given[index], places))
                    listener.on_progress(index, job, progress)
            if seconds is not None and time.monotonic() - started > seconds:
                break
            if left:
                time.sleep(self.profile.poll_seconds)
            held_back = [job for job in held_back if job in left.values()]  # not ended elsewhere
            if held_back:
                others = len(left) - len(held_back)
                held_back = self._let_in(held_back, others, room_to_come=places != {})
        return outcomes

    def _let_in(self, jobs: list[RunJob], others: int, *, room_to_come: bool) -> list[RunJob]:
        """Submits what waits for room; returns what has to wait on. `others` are in already."""
        try:
            return self.submit(jobs).waiting
        except RefusedError as error:
            if room_to_come and isinstance(error, LimitError):
                return jobs
            if not others:
                raise
            told = f"not submitted: {len(jobs)}; already queued, and going on: {others}"
            raise RestRefusedError(f"{error}; {told}; see `ablate status {self._study}`") from error

    def _outcome(
        self,
        job: RunJob,
        given: Submitted | None,
        places: dict[str, Place] | None,
        absent: Counter[int],
        index: int,
    ) -> RunOutcome | None:
        """Tells how a job ended; None where it has not."""
        end = reconcile.end_of(job.folder, given, job.probes)
        if end is not None:
            return RunOutcome(job, *end[:2], trained=end.trained, seconds=end.seconds)
        if given is None or places is None or given.job in places:
            absent.pop(index, None)
            return None
        absent[index] += 1
        if absent[index] < GONE or is_locked(job.folder):
            return None
        reconcile.settle(job.folder, given, slurm_queue.ends([given]).get(given.job))
        status = store.read_status(job.folder)
        state: Any = "failed" if status.state == "done" else status.state  # not scored
        return RunOutcome(job, state, status.reason, seconds=status.seconds or 0.0)

    def _write(self, home: Path, groups: Sequence[Group], probes: Mapping[str, Any]) -> None:
        """Lays out all that the jobs will read."""
        (home / "logs").mkdir(parents=True)
        write_json(home / "probes.json", probes)
        settings = [config.settings for group in groups for config in group.configs]
        code_snapshot.take([*settings, dict(probes)], home / "code")
        for group in groups:
            group.write(home / "probes.json", self._cache)

    def _queue(self, groups: Sequence[Group], name: str, done: Submission) -> None:
        arrays = [(group, file) for group in groups for file in group.arrays]
        canaries: dict[Path | None, str] = {None: ""}
        for index, (group, file) in enumerate(arrays):
            try:
                if group.canary is not None and group.canary not in canaries:
                    canaries[group.canary] = commands.submit(group.sbatch(group.canary, name))
                    done.canaries.append(canaries[group.canary])
                number = commands.submit(group.sbatch(file, name, canaries[group.canary]))
            except LimitError as error:
                if not done.numbers:
                    raise
                if canaries.get(group.canary) and file == next(iter(group.arrays)):
                    slurm_queue.take_back([done.canaries.pop()])  # nothing waits for it
                done.words = str(error)
                left = [packs for other, file in arrays[index:] for packs in other.arrays[file]]
                done.waiting = [job for pack in left for job in pack]
                return
            done.numbers.append(number)
            for task, pack in enumerate(group.arrays[file]):
                log = group.home / "logs" / f"{number}_{task}_0_log.out"
                canary = str(group.canary.parent) if group.canary is not None else ""
                for job in pack:
                    given = Submitted(f"{number}_{task}", name, str(log), canary)
                    slurm_queue.remember(job.folder, given)
                    done.jobs += 1


def _places(given: Iterable[Submitted | None]) -> dict[str, Place] | None:
    """Asks the queue; None where it does not answer, which tells nothing about the jobs."""
    try:
        return slurm_queue.places(found for found in given if found is not None)
    except RefusedError:
        return None


def _label(given: Submitted | None, places: dict[str, Place] | None) -> str:
    if given is not None and places is None:
        return f"job {given.job}: the queue does not answer"
    if given is None or places is None or given.job not in places:
        return "waiting for room in the queue"
    place = places[given.job]
    why = f" ({place.reason})" if place.reason not in ("", "None") else ""
    return f"job {given.job} {place.state.lower()}{why}"
