"""Where the workers of one process are given points, and report what became of them."""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ablate.config.search_space import Change, Point, Space, Tried, apply_changes, draw
from ablate.config.sweep import Sweep, SweepError
from ablate.config.tree import Node
from ablate.design.trials import variant_of
from ablate.executors.local import WorkerHandle
from ablate.executors.worker import WorkerDiedError
from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.runs.pending import TRIAL
from ablate.sweep import recovery
from ablate.sweep.evaluation import Tryout
from ablate.sweep.heartbeat import Presence
from ablate.sweep.pruners import fidelity, make_pruner
from ablate.sweep.search import Search
from ablate.sweep.storage import StorageError, close_storage, open_storage, reachable

BEAT_SECONDS = 1.0  # between looks whether a beat is due
WAIT_SECONDS = 0.5  # for points that other workers are at
OPEN_SECONDS = 60.0  # while another process makes the storage


class NothingScoredError(SweepError):
    """A search ended without one point that has a score."""


@dataclass(frozen=True)
class Combination:
    """Levels that are tuned together, with the settings that may be tuned."""

    levels: dict[str, str]  # factor -> label
    tree: Node  # of a trial's settings, as they are written
    space: Space
    name: str = ""  # of its search

    @property
    def label(self) -> str:
        """Returns the labels of its levels, for people."""
        return variant_of(self.levels.values())


@dataclass(frozen=True)
class Tuned:
    """The best point of a combination, among as many as the others had."""

    combination: Combination
    best: Tried
    num_tried: int  # points, the pruned and failed ones among them
    num_pruned: int
    num_failed: int
    fidelity: dict[str, tuple[float, int]]  # rung -> rank correlation with the end, of how many

    @property
    def changes(self) -> list[Change]:
        """Returns what the best point changes."""
        return draw(self.combination.space, lambda name, dimension: self.best.params[name])

    @property
    def tree(self) -> Node:
        """Returns the tuned settings."""
        return apply_changes(self.combination.tree, self.changes)


class Desk:
    """The searches of a study's combinations, as the workers of one process take turns at them.

    Opens the storage, and rebuilds from the run folders each search that it lacks. Raises what
    `reachable` turns into words.
    """

    def __init__(
        self,
        sweep: Sweep,
        plan: Mapping[str, Any],
        found: list[Combination],
        folders: store.Folders,
        journal: Path,
    ) -> None:
        self._sweep, self._plan, self._folders = sweep, plan, folders
        self._probe = plan["probes"][plan["score"]["probe"]]
        self._pooling = plan["score"]["pooling"]
        self._combinations = found
        self._where = sweep.storage or str(journal)
        self._presence = Presence()
        self._door = threading.Lock()
        self._deadline = time.monotonic() + 60 * (sweep.minutes or float("inf"))
        self.searches = self._open(journal)

    @property
    def total(self) -> int:
        """How many points are to be tried."""
        return sum(search.trials for search in self.searches)

    @property
    def num_tried(self) -> int:
        """How many points have been tried, here and elsewhere."""
        return sum(min(len(search.tried()), search.trials) for search in self.searches)

    def score(self, job: RunJob) -> float | None:
        """Returns what a job is judged by: its validation score in percent, or None."""
        return store.read_score(job.folder, self._probe, self._pooling, part="valid")

    def turn(self, seat: WorkerHandle) -> bool:
        """Tries one point, or waits a little for one; gives False when there is none to come.

        Raises `WorkerDiedError`, having given the point back.
        """
        if time.monotonic() > self._deadline:
            return False
        with self._door:
            # the search that is behind comes first: a time limit must not favour one
            searches = sorted(self.searches, key=lambda search: search.load)
            asked = ((search, search.ask()) for search in searches)
            search, point = next(((s, p) for s, p in asked if p is not None), (None, None))
            over = point is None and all(search.is_over for search in searches)
        if search is None or point is None:
            time.sleep(0 if over else WAIT_SECONDS)
            return not over
        try:
            self._try(seat, search, point)
        except WorkerDiedError as error:
            search.give_back(point, str(error), in_order=seat.is_stopping)
            raise
        return True

    def best(self) -> list[Tuned]:
        """Chooses among as many points of each combination as the least tried one has.

        The highest validation score wins, whatever the other objectives. Raises
        `NothingScoredError` where a combination has no point with a score.
        """
        tried = [search.tried() for search in self.searches]
        least = min(map(len, tried))
        chosen, problems = [], []
        for combination, points in zip(self._combinations, tried, strict=True):
            scored = [point for point in points[:least] if point.values is not None]
            if not scored:
                reasons = "; ".join(dict.fromkeys(point.reason or "" for point in points[:3]))
                problem = f"no point of the sweep of {combination.label} has a score"
                problems.append(f"{problem}: {reasons or 'none was tried in time'}")
                continue
            best = max(scored, key=lambda point: (point.values or (0.0,))[0])
            pruned = sum("pruned" in point.facts for point in points[:least])
            failed = least - len(scored) - pruned
            chosen.append(Tuned(combination, best, least, pruned, failed, fidelity(points)))
        if problems:
            raise NothingScoredError("\n".join(problems))
        return chosen

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Signals in the storage, while inside, that this process lives; closes it at the end."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):
                for search in self.searches:
                    # a server that is away for a moment comes back; the workers say if it does not
                    with contextlib.suppress(OSError, StorageError), reachable(self._where):
                        search.beat()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            close_storage(self.storage)

    def _open(self, file: Path) -> list[Search]:
        self.storage = open_storage(self._sweep.storage, file)
        searches, percents = [], [round(100 * share) for share in self._sweep.rungs]
        for combination in self._combinations:
            # two processes that begin at once must not both rebuild it
            with FileLock(file.with_name(f".{file.name}.open"), timeout=OPEN_SECONDS):
                search = Search(
                    self.storage,
                    combination.name,
                    space=combination.space,
                    trials=self._sweep.trials,
                    sampler=self._sweep.sampler,
                    pruner=make_pruner(self._sweep.pruner, percents),
                    objectives=self._sweep.objectives,
                    presence=self._presence,
                )
                if not search.load:
                    search.restore(self._recalled(combination.name))
            searches.append(search)
        return searches

    def _recalled(self, search: str) -> list[recovery.TriedPoint]:
        asked = self._sweep.objectives
        return recovery.load_points(self._folders.runs, search, self._probe, self._pooling, asked)

    def _try(self, seat: WorkerHandle, search: Search, point: Point) -> None:
        """Runs the trials of a point and tells what they are worth."""
        combination = self._combinations[self.searches.index(search)]
        tree = apply_changes(combination.tree, point.changes)
        trials = [{**tree.plain(), "seed": seed} for seed in self._sweep.seeds]
        answer = seat.ask({"do": "plan", "trials": trials, "probes": {}})
        problems = [found for entry in answer["trials"] for found in entry["problems"]]
        if problems:
            search.fail(point, f"refused: {problems[0]['message']}")
            return
        names = [entry["fingerprint"] for entry in answer["trials"]]
        recovery.record_point(self._folders.runs, search.name, point, names)
        jobs = []
        for seed, entry in zip(self._sweep.seeds, answer["trials"], strict=True):
            folder = self._folders.runs / entry["fingerprint"]
            store.write_config(folder, kind=TRIAL, settings=entry["settings"])
            title = f"{combination.label}, point {point.number}, seed {seed}"
            evaluate = self._plan.get("evaluate")
            jobs.append(RunJob(folder, title, self._plan["probes"], evaluate=evaluate))
        Tryout(
            sweep=self._sweep,
            search=search,
            point=point,
            seat=seat,
            jobs=jobs,
            steps=answer["trials"][0]["settings"]["budget"]["steps"] if self._sweep.rungs else 0,
            probe=self._probe,
            pooling=self._pooling,
        ).run()
