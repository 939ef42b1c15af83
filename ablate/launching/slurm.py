"""Runs on a cluster: the same jobs as the local pool's, as arrays that sbatch is handed.

What a run came to is read from its folder. The queue is asked only whether a job is still there,
and sacct only why one is gone.
"""

import json
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ablate.files import write_json
from ablate.launching import commands, ledger, queueing, script, settling, snapshot
from ablate.launching.canary import write_canary
from ablate.launching.commands import RefusedError
from ablate.launching.pool import Job, Outcome, Watch
from ablate.launching.profile import Profile
from ablate.launching.queueing import Place, Submitted

GONE = 2  # times in a row that the queue must not know a job, before it counts as gone
Item = TypeVar("Item")


@dataclass
class Submission:
    """What one call of sbatch, or several of the same array, have put into the queue."""

    jobs: int = 0  # run folders
    numbers: list[str] = field(default_factory=list)  # of the arrays
    canary: str = ""
    already: int = 0  # run folders that were in the queue before
    waiting: list[Job] = field(default_factory=list)  # that the site lets in later
    words: str = ""  # the site's, on why they wait

    def describe(self) -> list[str]:
        """Says it in a line or two."""
        lines = []
        if self.numbers:
            arrays = ", ".join(self.numbers)
            after = f", after canary job {self.canary}" if self.canary else ""
            lines.append(f"submitted {self.jobs} runs as job {arrays}{after}")
        if self.already:
            lines.append(f"{self.already} runs are in the queue already")
        if self.waiting:
            lines.append(f"{len(self.waiting)} runs wait for room in the queue: {self.words}")
        return lines


class Cluster:
    """A site, as a profile describes it, and the folder of one study's submissions."""

    def __init__(self, profile: Profile, folder: Path, cache: Path, *, study: str) -> None:
        self.profile = profile
        self._folder = folder.absolute()
        self._cache = cache.absolute()
        self._study = study

    def run(self, jobs: Sequence[Job], watch: Watch) -> list[Outcome]:
        """Submits the jobs and follows them to their ends, as the pool does."""
        return self.follow(jobs, watch, waiting=self.submit(jobs).waiting)

    def text(self, jobs: Sequence[Job]) -> str:
        """Writes what `submit` would hand to sbatch; submits nothing."""
        home = self._folder / "SUBMISSION"
        parts = []
        if self.profile.canary:
            parts.append(self._script(home / "canary" / "spec.json", "canary"))
        size = self.profile.max_array or commands.max_array()
        for index, packs in enumerate(chunks(self._packs(jobs), size)):
            after = "CANARY" if self.profile.canary else ""
            spec = home / f"array-{index:02d}.json"
            parts.append(self._script(spec, self._study, count=len(packs), after=after))
        return "\n".join(parts)

    def submit(self, jobs: Sequence[Job]) -> Submission:
        """Queues the jobs that are not in the queue yet. Raises `RefusedError`, queueing none."""
        queued = self._queued(jobs)
        missing = [job for job in jobs if job.folder not in queued]
        done = Submission(already=len(queued))
        if not missing:
            return done
        home = self._folder / secrets.token_hex(4)
        size = self.profile.max_array or commands.max_array()
        name = f"{self._study}-{home.name}"
        arrays = list(chunks(self._packs(missing), size))
        try:
            canary = self._write(home, missing, arrays)
            for index, packs in enumerate(arrays):
                self._rehearse(home / f"array-{index:02d}.json", name, count=len(packs))
            if canary:
                spec = home / "canary" / "spec.json"
                self._rehearse(spec, f"{name}-canary")
                done.canary = self._hand_in(spec, f"{name}-canary")
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        self._queue(home, name, arrays, done)
        return done

    def follow(
        self,
        jobs: Sequence[Job],
        watch: Watch,
        *,
        waiting: Sequence[Job] = (),
        seconds: float | None = None,
    ) -> list[Outcome]:
        """Waits until every job has ended; `seconds` at most, then returns those that have."""
        started = time.monotonic()
        left, absent = dict(enumerate(jobs)), Counter[int]()
        outcomes: list[Outcome] = []
        held_back = list(waiting)
        while left:
            places = self._places(left.values())
            for index, job in list(left.items()):
                outcome = self._outcome(job, places, absent, index)
                if outcome is not None:
                    del left[index]
                    outcomes.append(outcome)
                    watch.finished(index, outcome)
                elif places is not None and index not in absent:
                    watch.progress(index, job, {"label": _label(job, places)})
            if seconds is not None and time.monotonic() - started > seconds:
                break
            if left:
                time.sleep(self.profile.poll_seconds)
            if held_back:
                held_back = self._let_in(held_back, room_to_come=places != {})
        return outcomes

    def _let_in(self, jobs: list[Job], *, room_to_come: bool) -> list[Job]:
        """Submits what waits for room; returns what has to wait on."""
        try:
            return self.submit(jobs).waiting
        except RefusedError as error:
            if not (room_to_come and "Limit" in str(error)):
                raise
            return jobs

    def _outcome(
        self, job: Job, places: dict[str, Place] | None, absent: Counter[int], index: int
    ) -> Outcome | None:
        """Tells how a job ended; None where it has not."""
        given = queueing.last(job.folder)
        end = settling.end_of(job.folder, given, job.probes)
        if end is not None:
            return Outcome(job, *end[:2], trained=end.trained, seconds=end.seconds)
        if given is None or places is None or given.job in places:
            absent.pop(index, None)
            return None
        absent[index] += 1
        if absent[index] < GONE or ledger.is_held(job.folder):
            return None
        settling.settle(job.folder, given, queueing.ends([given]).get(given.job))
        entry = ledger.entry(job.folder)
        state: Any = "failed" if entry.state == "done" else entry.state  # not scored
        return Outcome(job, state, entry.reason, seconds=entry.seconds or 0.0)

    def _places(self, jobs: Sequence[Job] | Any) -> dict[str, Place] | None:
        """Asks the queue; None where it does not answer, which says nothing about the jobs."""
        given = [found for job in jobs if (found := queueing.last(job.folder)) is not None]
        try:
            return queueing.places(given)
        except RefusedError:
            return None

    def _queued(self, jobs: Sequence[Job]) -> set[Path]:
        given = {job.folder: queueing.last(job.folder) for job in jobs}
        places = queueing.places(found for found in given.values() if found is not None)
        return {folder for folder, found in given.items() if found and found.job in places}

    def _packs(self, jobs: Sequence[Job]) -> list[list[Job]]:
        return list(chunks(jobs, self.profile.trials_per_job))

    def _write(self, home: Path, jobs: Sequence[Job], arrays: Sequence[list[list[Job]]]) -> bool:
        """Lays out all that the jobs will read; tells whether there is a canary."""
        (home / "logs").mkdir(parents=True)
        write_json(home / "probes.json", jobs[0].probes)
        configs = [json.loads((job.folder / "config.json").read_text()) for job in jobs]
        parts = [*(found["settings"] for found in configs), dict(jobs[0].probes)]
        snapshot.take(parts, home / "code")
        base = {
            "probes": str(home / "probes.json"),
            "cache": str(self._cache),
            "device": self.profile.device,
            "step": self._step(),
            "max_requeues": self.profile.max_requeues,
            "signal_seconds": self.profile.signal_seconds,
        }
        for index, packs in enumerate(arrays):
            folders = [[str(job.folder.absolute()) for job in pack] for pack in packs]
            write_json(home / f"array-{index:02d}.json", {**base, "packs": folders})
        return self.profile.canary and write_canary(home / "canary", configs, base)

    def _step(self) -> list[str]:
        """Returns what starts a trial of several ranks: a step that spans the job."""
        profile = self.profile
        if profile.num_ranks == 1:
            return []
        ranks = [f"--ntasks={profile.num_ranks}", f"--ntasks-per-node={profile.ranks}"]
        spread = [f"--nodes={profile.nodes}", *ranks, f"--cpus-per-task={profile.cpus}"]
        return ["srun", "--overlap", "--unbuffered", "--kill-on-bad-exit=1", *spread]

    def _queue(
        self, home: Path, name: str, arrays: Sequence[list[list[Job]]], done: Submission
    ) -> None:
        for index, packs in enumerate(arrays):
            spec = home / f"array-{index:02d}.json"
            try:
                number = self._hand_in(spec, name, count=len(packs), after=done.canary)
            except RefusedError as error:
                if not (done.numbers and "Limit" in str(error)):
                    self._withdraw(done)
                    raise
                done.words = str(error)
                done.waiting = [job for packs in arrays[index:] for pack in packs for job in pack]
                return
            done.numbers.append(number)
            for task, pack in enumerate(packs):
                log = home / "logs" / f"{number}_{task}_0_log.out"
                canary = str(home / "canary") if done.canary else ""
                for job in pack:
                    given = Submitted(f"{number}_{task}", name, str(log), canary)
                    queueing.remember(job.folder, given)
                    done.jobs += 1

    def _withdraw(self, done: Submission) -> None:
        """Takes back what an unlucky submission has put into the queue."""
        for number in filter(None, [done.canary, *done.numbers]):
            commands.call(["scancel", number])

    def _script(self, spec: Path, name: str, *, count: int | None = None, after: str = "") -> str:
        home = spec.parent.parent if spec.parent.name == "canary" else spec.parent
        code = home / "code"
        return script.text(self.profile, spec, name=name, code=code, count=count, after=after)

    def _rehearse(self, spec: Path, name: str, *, count: int | None = None) -> None:
        file = spec.with_suffix(".sbatch")
        file.write_text(self._script(spec, name, count=count))
        commands.rehearse(file)

    def _hand_in(self, spec: Path, name: str, *, count: int | None = None, after: str = "") -> str:
        file = spec.with_suffix(".sbatch")
        file.write_text(self._script(spec, name, count=count, after=after))
        return commands.submit(file)


def chunks(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Cuts a list in pieces of `size`, the last one shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _label(job: Job, places: dict[str, Place]) -> str:
    given = queueing.last(job.folder)
    if given is None or given.job not in places:
        return "waiting for room in the queue"
    place = places[given.job]
    why = f" ({place.reason})" if place.reason not in ("", "None") else ""
    return f"job {given.job} {place.state.lower()}{why}"
