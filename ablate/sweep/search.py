"""Searches one space for its best point, from any number of processes at once.

No point is lost with a process: each process writes a heartbeat to the storage. The trial of a
process that has ended is marked FAIL, and its parameters are enqueued again. A failed trial that
does not count as evaluated has the reason in its attribute `void`.
"""

import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ablate.config.search_space import FinishedPoint, Point, Space, count_points, draw, list_points
from ablate.runs.heartbeat import HeartbeatMonitor
from ablate.sweep.heartbeat import SweepProcess, has_ended
from ablate.sweep.optuna_trials import (
    compute_constraints,
    create_ended_trial,
    get_direction,
    is_void,
    suggest_value,
    to_finished_point,
)
from ablate.sweep.patience import retry_interrupted
from ablate.sweep.samplers import KeyedSampler

PATIENCE_SECONDS = 60.0  # without a change of its counter, after which a process is presumed dead
AWAY_SECONDS = 5.0  # duration of a call after which the storage counts as having been away
MOST_TRIES = 3  # times that a point is evaluated if its process dies each time
MOST_REPEATS = 5  # duplicates in a row before the search takes a point from a list
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class Search:
    """A search of one space, shared with other processes through its storage.

    Args:
        storage: Optuna storage.
        name: Name of the Optuna study.
        space: The dimensions to search.
        trials: Most points to evaluate; no more than the space has.
        sampler: One of `SAMPLERS`.
        pruner: Pruner of points; None for no pruning.
        seed: Seed of the sampler.
        objectives: `score` is maximised, every other objective minimised.
        bounds: Upper bounds of costs, which samplers try to keep to.
        process: This process.
        patience: Seconds without a change of its counter after which a process is presumed dead.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        *,
        space: Space,
        trials: int,
        sampler: str = "tpe",
        pruner: BasePruner | None = None,
        seed: int = 0,
        objectives: Sequence[str] = ("score",),
        bounds: Mapping[str, float] = MappingProxyType({}),
        process: SweepProcess,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.name, self.space = name, space
        distinct = count_points(space)
        self.trials = trials if distinct is None else min(trials, distinct)
        self._storage, self._process, self._patience = storage, process, patience
        self._bounds = bounds
        self._heartbeats = HeartbeatMonitor()  # counters of the processes of unfinished trials
        self._active: set[int] = set()  # points that this process evaluates
        self._sampler = KeyedSampler(sampler, seed, trials=trials)
        self._random_sampler = KeyedSampler("random", seed)
        directions = [get_direction(objective) for objective in objectives]
        self.study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=directions,
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        if self.study.metric_names != list(objectives):
            self.study.set_metric_names(list(objectives))

    def next_point(self) -> Point | None:
        """Returns a point to evaluate, or None if there is none now.

        A point may become available later, if another process releases it.
        """
        point = retry_interrupted(self._next_point)
        if point is not None:
            self._active.add(point.number)
        return point

    def _next_point(self) -> Point | None:
        self.write_heartbeat()
        self._void_unknown_points()
        self._requeue_lost_points()
        for repeat in range(MOST_REPEATS + 1):
            counted = self._counted_trials()
            waiting = any(trial.state == TrialState.WAITING for trial in counted)
            if not waiting and len(counted) >= self.trials:
                return None
            # if the sampler repeats a point, try random ones, and finally a list of all points
            self.study.sampler = self._random_sampler if repeat else self._sampler
            if repeat == MOST_REPEATS and (params := self._first_untried()) is not None:
                self.study.enqueue_trial(params)
            trial = self.study.ask()
            trial.set_user_attr("worker", self._process.name)
            distributions: dict[str, str] = {}
            suggest = functools.partial(suggest_value, trial, distributions)
            changes = draw(self.space, suggest)
            point = Point(trial.number, trial.params, changes, distributions)
            others = [other for other in self._counted_trials() if other.number != trial.number]
            if sum(other.number < trial.number for other in others) >= self.trials:
                self._void(trial.number, "exceeds the number of trials")
                return None
            may_repeat = "tries" in trial.user_attrs or repeat == MOST_REPEATS
            if may_repeat or all(other.params != trial.params for other in others):
                return point
            self._void(trial.number, "duplicate")
        return None

    def complete(self, point: Point, values: Sequence[float], facts: Mapping[str, Any]) -> None:
        """Records the values of a point, one per objective; ignored if it was presumed lost."""
        self._end(point.number, TrialState.COMPLETE, facts, values)

    def fail(self, point: Point, reason: str) -> None:
        """Records that a point has failed. It counts as evaluated."""
        self._end(point.number, TrialState.FAIL, {"reason": reason})

    def should_prune(self, point: Point, step: int, value: float) -> bool:
        """Records an intermediate score of a point; returns whether the pruner ends the point.

        `step` is the rung, in percent of the steps; for the Wilcoxon pruner the index of the seed.
        """
        try:
            trial = retry_interrupted(lambda: self._record_score(point, step, value))
        except optuna.exceptions.UpdateFinishedTrialError:
            return False  # presumed lost in the meantime
        return self.study.pruner.prune(optuna.pruners._filter_study(self.study, trial), trial)

    def _record_score(self, point: Point, step: int, value: float) -> FrozenTrial:
        trial_id = self._get_trial_id(point.number)
        self._storage.set_trial_intermediate_value(trial_id, step, value)
        return self._storage.get_trial(trial_id)

    def prune(self, point: Point, reason: str, facts: Mapping[str, Any]) -> None:
        """Records that a point was pruned. It counts as evaluated."""
        self._end(point.number, TrialState.PRUNED, {**facts, "reason": reason})

    def release(self, point: Point, reason: str, *, requested: bool = False) -> None:
        """Makes a point available to other processes; after `MOST_TRIES` it has failed.

        `requested` says that this process was asked to stop, which does not count as a try.
        """
        trial = next(t for t in self._get_trials() if t.number == point.number)
        self._requeue(trial, reason, counts=not requested)

    def write_heartbeat(self) -> None:
        """Writes this process's heartbeat to the storage, if it is due."""
        key, study = f"beat {self._process.name}", self.study._study_id
        if (count := self._process.next_count(self.name)) is not None:
            with self._noticing_absence():
                retry_interrupted(lambda: self._storage.set_study_system_attr(study, key, count))

    def list_finished(self) -> list[FinishedPoint]:
        """Returns the points that have ended, in the order in which they were drawn."""
        return [to_finished_point(t) for t in self._counted_trials() if t.state not in UNFINISHED]

    @property
    def is_finished(self) -> bool:
        """Whether all points have been evaluated."""
        return len(self.list_finished()) >= self.trials

    @property
    def num_started(self) -> int:
        """Number of points that have ended or are being evaluated."""
        return len(self._counted_trials())

    def restore(self, records: Sequence[tuple[Mapping[str, str], FinishedPoint]]) -> None:
        """Writes points that were recorded in run folders into an empty storage.

        Each comes with its distributions, by parameter, as Optuna's JSON.
        """
        if self._get_trials():
            return
        for distributions, tried in records:
            self.study.add_trial(create_ended_trial(distributions, tried, self._bounds))

    def _requeue_lost_points(self) -> None:
        """Enqueues the points of processes that have ended."""
        study = self.study._study_id
        with self._noticing_absence():
            counts = retry_interrupted(lambda: self._storage.get_study_system_attrs(study))
            trials = self._get_trials()
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            worker = trial.user_attrs.get("worker", "")
            if worker == self._process.name:
                continue
            beat = (worker, counts.get(f"beat {worker}"))
            if self._heartbeats.is_stale(trial.number, beat, self._patience) or has_ended(worker):
                self._requeue(trial, f"its process has ended: {worker}")

    @contextmanager
    def _noticing_absence(self) -> Iterator[None]:
        """Observes the heartbeats of other processes anew if the storage was away meanwhile.

        They could not write any, and are not dead.
        """
        started = time.monotonic()
        yield
        if time.monotonic() - started > AWAY_SECONDS:
            self._heartbeats = HeartbeatMonitor()

    def _get_trials(self) -> list[FrozenTrial]:
        return retry_interrupted(lambda: self.study.get_trials(deepcopy=False))

    def _void_unknown_points(self) -> None:
        """Voids points of this process that it never got, because the storage went away."""
        for trial in self._get_trials():
            is_own = trial.user_attrs.get("worker") == self._process.name
            if trial.state == TrialState.RUNNING and is_own and trial.number not in self._active:
                self._void(trial.number, "the storage went away while it was drawn")

    def _counted_trials(self) -> list[FrozenTrial]:
        return [t for t in self._get_trials() if not (t.state == TrialState.FAIL and is_void(t))]

    def _first_untried(self) -> dict[str, Any] | None:
        """Returns the first point of a finite space that has not been drawn."""
        if count_points(self.space) is None:
            return None
        drawn = [trial.params for trial in self._counted_trials()]
        return next((params for params in list_points(self.space) if params not in drawn), None)

    def _void(self, number: int, reason: str) -> bool:
        return self._end(number, TrialState.FAIL, {"void": reason})

    def _requeue(self, trial: FrozenTrial, reason: str, *, counts: bool = True) -> None:
        tries = int(trial.user_attrs.get("tries", 0)) + counts
        if tries >= MOST_TRIES:
            self._end(trial.number, TrialState.FAIL, {"reason": f"lost {tries} times; {reason}"})
        elif self._void(trial.number, reason) and trial.params:
            self.study.enqueue_trial(trial.params, user_attrs={"tries": tries})

    def _end(
        self,
        number: int,
        state: TrialState,
        facts: Mapping[str, Any],
        values: Sequence[float] | None = None,
    ) -> bool:
        """Ends a trial; returns False if another process has ended it already."""
        num_calls = 0

        def end() -> bool:
            nonlocal num_calls
            num_calls += 1
            trial_id = self._get_trial_id(number)
            try:
                for key, value in facts.items():
                    self._storage.set_trial_user_attr(trial_id, key, value)
                for key, excess in compute_constraints(facts, self._bounds).items():
                    self._storage.set_trial_system_attr(trial_id, key, excess)
                return self._storage.set_trial_state_values(trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                # an interrupted call may have ended it, and only its answer was lost
                return num_calls > 1 and self._storage.get_trial(trial_id).state == state

        ended = retry_interrupted(end)
        self._active.discard(number)
        return ended

    def _get_trial_id(self, number: int) -> int:
        study_id = self.study._study_id
        return self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
