"""Runs the searches of a study on workers that this process drives, and selects the best points."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ablate.config.search_space import Change, FinishedPoint, Point, Space, apply_changes, draw
from ablate.config.sweep import Sweep, SweepError
from ablate.config.tree import Node
from ablate.core.records.plan import StudyPlan
from ablate.core.records.planning import PlanRequest
from ablate.design.trials import join_labels
from ablate.executors.local import WorkerHandle
from ablate.executors.worker import WorkerDiedError
from ablate.runs import store
from ablate.runs.job import RunJob
from ablate.runs.pending import TRIAL
from ablate.sweep import recovery
from ablate.sweep.evaluation import PointEvaluation
from ablate.sweep.heartbeat import SweepProcess
from ablate.sweep.optuna_trials import compute_constraints
from ablate.sweep.patience import stop_waiting_if
from ablate.sweep.pruners import compute_fidelity, create_pruner
from ablate.sweep.search import Search
from ablate.sweep.storage import StorageError, close_storage, open_storage, storage_errors

CHECK_SECONDS = 1.0  # between checks whether a heartbeat is due
WAIT_SECONDS = 0.5  # between checks for points that other processes release
OPEN_SECONDS = 60.0  # timeout while another process rebuilds a search


class NoScoredPointError(SweepError):
    """A search ended without a point that has a score."""


@dataclass(frozen=True)
class Combination:
    """Levels that are tuned together, with the settings that may be tuned."""

    levels: dict[str, str]  # factor -> label
    tree: Node  # settings of a trial, as written
    space: Space
    name: str = ""  # name of its search

    @property
    def label(self) -> str:
        """The labels of its levels, for messages."""
        return join_labels(self.levels.values())


@dataclass(frozen=True)
class TunedCombination:
    """The best point of a combination, among as many points as the others had."""

    combination: Combination
    best: FinishedPoint
    num_tried: int  # points that have ended, including pruned and failed ones
    num_pruned: int
    num_failed: int
    fidelity: dict[str, tuple[float, int]]  # see `compute_fidelity`

    @property
    def changes(self) -> list[Change]:
        """The settings that the best point changes."""
        return draw(self.combination.space, lambda name, dimension: self.best.params[name])

    @property
    def tree(self) -> Node:
        """The tuned settings."""
        return apply_changes(self.combination.tree, self.changes)


class SweepRunner:
    """The searches of a study's combinations, evaluated by the workers of this process.

    Opens the storage, and rebuilds searches that it lacks from the run folders. Create it inside
    `storage_errors`, which converts the exceptions of the storage.
    """

    def __init__(
        self,
        sweep: Sweep,
        plan: StudyPlan,
        combinations: list[Combination],
        folders: store.Folders,
        journal: Path,
    ) -> None:
        self._sweep, self._plan, self._folders = sweep, plan, folders
        self._probe = plan.score_protocol
        self._pooling = plan.score.pooling
        self._combinations = combinations
        self._storage_name = sweep.storage or str(journal)
        self._bounds = sweep.constraints.bounds
        self._process = SweepProcess()
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + 60 * (sweep.minutes or float("inf"))
        self.searches = self._open_searches(journal)

    @property
    def num_points(self) -> int:
        """Number of points to evaluate."""
        return sum(search.trials for search in self.searches)

    @property
    def num_finished(self) -> int:
        """Number of points that have ended, in all processes."""
        return sum(min(len(search.list_finished()), search.trials) for search in self.searches)

    def read_score(self, job: RunJob) -> float | None:
        """Returns the validation score of a job, in percent, or None."""
        return store.read_score(job.folder, self._probe, self._pooling, part="valid")

    def step(self, worker: WorkerHandle) -> bool:
        """Evaluates one point, or waits briefly for one; returns False if there are no more.

        Raises:
            WorkerDiedError: The worker died; the point is released.
        """
        if time.monotonic() > self._deadline:
            return False
        with stop_waiting_if(lambda: worker.is_stopping):
            return self._step(worker)

    def _step(self, worker: WorkerHandle) -> bool:
        with self._lock:
            # the search with the fewest points comes first: a time limit must not favour one
            searches = sorted(self.searches, key=lambda search: search.num_started)
            drawn = ((search, search.next_point()) for search in searches)
            search, point = next(((s, p) for s, p in drawn if p is not None), (None, None))
            finished = point is None and all(search.is_finished for search in searches)
        if search is None or point is None:
            time.sleep(0 if finished else WAIT_SECONDS)
            return not finished
        try:
            self._evaluate(worker, search, point)
        except WorkerDiedError as error:
            search.release(point, str(error), requested=worker.is_stopping)
            raise
        return True

    def select_best(self) -> list[TunedCombination]:
        """Selects the point with the highest validation score of each combination.

        Of every combination, only as many points are considered as the one with the fewest has.

        Raises:
            NoScoredPointError: A combination has no point with a score that keeps to the
                constraints.
        """
        finished = [self._list_corrected(search) for search in self.searches]
        least = min(map(len, finished))
        selected, problems = [], []
        for combination, points in zip(self._combinations, finished, strict=True):
            scored = [point for point in points[:least] if point.values is not None]
            kept = [point for point in scored if self._keeps_to_constraints(point)]
            if scored and not kept:
                rule = f"keeps to `sweep.constraints` {self._bounds}"
                problems.append(f"no point of the sweep of {combination.label} {rule}")
                continue
            if not scored:
                reasons = "; ".join(dict.fromkeys(point.reason or "" for point in points[:3]))
                problem = f"no point of the sweep of {combination.label} has a score"
                problems.append(f"{problem}: {reasons or 'none was evaluated in time'}")
                continue
            best = max(kept, key=lambda point: (point.values or (0.0,))[0])
            pruned = sum("pruned" in point.facts for point in points[:least])
            failed = least - len(scored) - pruned
            fidelity = compute_fidelity(points)
            selected.append(TunedCombination(combination, best, least, pruned, failed, fidelity))
        if problems:
            raise NoScoredPointError("\n".join(problems))
        return selected

    def _list_corrected(self, search: Search) -> list[FinishedPoint]:
        recorded = [point for _, point in self._load_points(search.name)]
        return recovery.correct_points(search.list_finished(), recorded, self._storage_name)

    def _keeps_to_constraints(self, point: FinishedPoint) -> bool:
        excesses = compute_constraints(point.facts, self._bounds)
        return len(excesses) == len(self._bounds) and max(excesses.values(), default=0.0) <= 0

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Writes heartbeats to the storage in the background; closes the storage at the end."""
        ended = threading.Event()

        def write() -> None:
            with stop_waiting_if(ended.is_set):
                while not ended.wait(CHECK_SECONDS):
                    for search in self.searches:
                        # a server may be away for a moment; the workers report lasting failures
                        name = self._storage_name
                        with contextlib.suppress(OSError, StorageError), storage_errors(name):
                            search.write_heartbeat()

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            close_storage(self.storage)

    def _open_searches(self, journal: Path) -> list[Search]:
        self.storage = open_storage(self._sweep.storage, journal)
        searches, percents = [], [round(100 * share) for share in self._sweep.rungs]
        for combination in self._combinations:
            # processes that start together must not rebuild a search twice
            with FileLock(journal.with_name(f".{journal.name}.open"), timeout=OPEN_SECONDS):
                search = Search(
                    self.storage,
                    combination.name,
                    space=combination.space,
                    trials=self._sweep.trials,
                    sampler=self._sweep.sampler,
                    pruner=create_pruner(self._sweep.pruner, percents),
                    objectives=self._sweep.objectives,
                    bounds=self._bounds,
                    process=self._process,
                )
                if not search.num_started:
                    search.restore(self._load_points(combination.name))
            searches.append(search)
        return searches

    def _load_points(self, search: str) -> list[recovery.RecordedPoint]:
        names = self._sweep.objectives
        return recovery.load_points(self._folders.runs, search, self._probe, self._pooling, names)

    def _evaluate(self, worker: WorkerHandle, search: Search, point: Point) -> None:
        """Plans the trials of a point, runs them and records the result."""
        combination = self._combinations[self.searches.index(search)]
        tree = apply_changes(combination.tree, point.changes)
        trials = [{**tree.plain(), "seed": seed} for seed in self._sweep.seeds]
        reply = worker.plan(PlanRequest(trials=tuple(trials)))
        if problems := reply.all_problems:
            search.fail(point, f"invalid settings: {problems[0].message}")
            return
        resolved = reply.get_resolved()
        names = [trial.fingerprint for trial in resolved]
        recovery.record_point(self._folders.runs, search.name, point, names)
        jobs = []
        for seed, trial in zip(self._sweep.seeds, resolved, strict=True):
            folder = self._folders.runs / trial.fingerprint
            store.write_config(folder, kind=TRIAL, settings=trial.settings)
            title = f"{combination.label}, point {point.number}, seed {seed}"
            evaluate = self._plan.evaluate
            jobs.append(RunJob(folder, title, self._plan.probes, evaluate=evaluate))
        PointEvaluation(
            sweep=self._sweep,
            search=search,
            point=point,
            worker=worker,
            jobs=jobs,
            steps=resolved[0].settings["budget"]["steps"] if self._sweep.rungs else 0,
            probe=self._probe,
            pooling=self._pooling,
        ).run()
