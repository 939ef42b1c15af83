"""One space searched for its best point, by any number of processes at once.

Nothing is lost with a process. Each signals in the storage that it lives, by a counter; a trial
whose process is gone is told FAIL, and its parameters are enqueued again. A trial that is told FAIL
and does not count says why in its attribute `void`; those without one have been tried.
"""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ablate.config.search_space import (
    Dimension,
    Point,
    Range,
    Space,
    Tried,
    count_points,
    draw,
    list_points,
)
from ablate.runs.heartbeat import HeartbeatMonitor
from ablate.sweep.heartbeat import Presence, is_gone
from ablate.sweep.pruners import shown_of
from ablate.sweep.samplers import KeyedSampler

PATIENCE_SECONDS = 60.0  # after which a process whose counter stands still is presumed dead
MOST_TRIES = 3  # of one point, if each time its process dies
MOST_REPEATS = 5  # points in a row that have been tried before
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


class Search:
    """One space being searched for its best point, here and elsewhere at once.

    `trials` points are tried at most, no more than the space has. `score` is to be as high as
    possible, every other objective as low. `patience` is in seconds.
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
        presence: Presence,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.name, self.space = name, space
        distinct = count_points(space)
        self.trials = trials if distinct is None else min(trials, distinct)
        self._storage, self._presence, self._patience = storage, presence, patience
        self._heartbeats = HeartbeatMonitor()  # counters of the unfinished trials' processes
        self._sampler = KeyedSampler(sampler, seed, trials=trials)
        self._chance = KeyedSampler("random", seed)
        directions = [_direction(objective) for objective in objectives]
        self.study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=directions,
            load_if_exists=True,
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.study.metric_names != list(objectives):
                self.study.set_metric_names(list(objectives))

    def ask(self) -> Point | None:
        """Gives a point to try; None where there is none for now: more may be given back."""
        self.beat()
        self._free_the_lost()
        for repeat in range(MOST_REPEATS + 1):
            counted = self._counted()
            waiting = any(trial.state == TrialState.WAITING for trial in counted)
            if not waiting and len(counted) >= self.trials:
                return None
            # where a sampler insists on a point, chance finds another, and then a list does
            self.study.sampler = self._chance if repeat else self._sampler
            if repeat == MOST_REPEATS and (left := self._left()) is not None:
                self.study.enqueue_trial(left)
            trial = self.study.ask()
            trial.set_user_attr("worker", self._presence.name)
            distributions: dict[str, str] = {}
            suggest = functools.partial(_suggest, trial, distributions)
            changes = draw(self.space, suggest)
            point = Point(trial.number, trial.params, changes, distributions)
            others = [other for other in self._counted() if other.number != trial.number]
            if sum(other.number < trial.number for other in others) >= self.trials:
                self._void(trial.number, "one too many")
                return None
            again = "tries" in trial.user_attrs or repeat == MOST_REPEATS
            if again or all(other.params != trial.params for other in others):
                return point
            self._void(trial.number, "asked for before")
        return None

    def tell(self, point: Point, values: Sequence[float], facts: Mapping[str, Any]) -> None:
        """Says what a point is worth, a value an objective; ignored if it was given up for lost."""
        self._end(point.number, TrialState.COMPLETE, facts, values)

    def fail(self, point: Point, reason: str) -> None:
        """Says that a point has no value, and why. It counts as tried."""
        self._end(point.number, TrialState.FAIL, {"reason": reason})

    def is_hopeless(self, point: Point, at: int, value: float) -> bool:
        """Records a score that a point had on its way; tells whether the pruner would end it.

        `at` is the rung, in percent of the steps, or for the Wilcoxon pruner the seed's place.
        """
        number = self._id(point.number)
        try:
            self._storage.set_trial_intermediate_value(number, at, value)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False  # it was taken for lost meanwhile
        trial = self._storage.get_trial(number)
        return self.study.pruner.prune(optuna.pruners._filter_study(self.study, trial), trial)

    def prune(self, point: Point, reason: str, facts: Mapping[str, Any]) -> None:
        """Says that a point was pruned. It counts as tried."""
        self._end(point.number, TrialState.PRUNED, {**facts, "reason": reason})

    def give_back(self, point: Point, reason: str, *, in_order: bool = False) -> None:
        """Leaves a point to others; after `MOST_TRIES` it has failed.

        `in_order` says that this process was told to leave: that is none of the tries.
        """
        trial = next(t for t in self._all() if t.number == point.number)
        self._lose(trial, reason, counts=not in_order)

    def beat(self) -> None:
        """Signals that this process lives, if that is due."""
        key, study = f"beat {self._presence.name}", self.study._study_id
        if (count := self._presence.due(self.name)) is not None:
            self._storage.set_study_system_attr(study, key, count)

    def _free_the_lost(self) -> None:
        """Enqueues again the points of processes that are gone."""
        beats = self._storage.get_study_system_attrs(self.study._study_id)
        for trial in self._all():
            if trial.state != TrialState.RUNNING:
                continue
            worker = trial.user_attrs.get("worker", "")
            if worker == self._presence.name:
                continue
            beat = (worker, beats.get(f"beat {worker}"))
            if self._heartbeats.is_stale(trial.number, beat, self._patience) or is_gone(worker):
                self._lose(trial, f"its process is gone: {worker}")

    def tried(self) -> list[Tried]:
        """Returns the points whose end is known, in the order of their asking."""
        return [_tried(trial) for trial in self._counted() if trial.state not in UNFINISHED]

    @property
    def is_over(self) -> bool:
        """Says whether all points have been tried."""
        return len(self.tried()) >= self.trials

    @property
    def load(self) -> int:
        """Counts the points tried and under way."""
        return len(self._counted())

    def restore(self, records: Sequence[tuple[Mapping[str, str], Tried]]) -> None:
        """Writes points that run folders remember into a storage that has none.

        Each comes with its distributions, by parameter, as Optuna's JSON.
        """
        if self._all():
            return
        for distributions, tried in records:
            reason = {"reason": tried.reason} if tried.reason else {}
            pruned = TrialState.PRUNED if "pruned" in tried.facts else TrialState.FAIL
            trial = optuna.create_trial(
                state=TrialState.COMPLETE if tried.values is not None else pruned,
                values=tried.values,
                intermediate_values=shown_of(tried),
                params=dict(tried.params),
                distributions={k: json_to_distribution(v) for k, v in distributions.items()},
                user_attrs={**tried.facts, **reason},
            )
            self.study.add_trial(trial)

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _counted(self) -> list[FrozenTrial]:
        return [t for t in self._all() if not (t.state == TrialState.FAIL and _is_void(t))]

    def _left(self) -> dict[str, Any] | None:
        """Returns the first point that nobody has tried, of a space that can be counted."""
        if count_points(self.space) is None:
            return None
        known = [trial.params for trial in self._counted()]
        return next((params for params in list_points(self.space) if params not in known), None)

    def _void(self, number: int, why: str) -> bool:
        return self._end(number, TrialState.FAIL, {"void": why})

    def _lose(self, trial: FrozenTrial, reason: str, *, counts: bool = True) -> None:
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
        """Ends a trial once, whoever comes first; tells whether it was us."""
        trial = self._id(number)
        try:
            for key, value in facts.items():
                self._storage.set_trial_user_attr(trial, key, value)
            return self._storage.set_trial_state_values(trial, state, values)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _id(self, number: int) -> int:
        study = self.study._study_id
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)


def _is_void(trial: FrozenTrial) -> bool:
    return "void" in trial.user_attrs


def _direction(objective: str) -> StudyDirection:
    return StudyDirection.MAXIMIZE if objective == "score" else StudyDirection.MINIMIZE


def _tried(trial: FrozenTrial) -> Tried:
    done = trial.state == TrialState.COMPLETE
    values = tuple(trial.values) if done and trial.values is not None else None
    facts = trial.user_attrs
    return Tried(trial.number, trial.params, values, facts.get("reason"), facts)


def _suggest(
    trial: optuna.Trial, distributions: dict[str, str], name: str, dimension: Dimension
) -> Any:
    value: Any
    if not isinstance(dimension, Range):
        value = trial.suggest_categorical(name, list(dimension.options))
    elif dimension.integer:
        low, high = int(dimension.low), int(dimension.high)
        value = trial.suggest_int(name, low, high, log=dimension.log)
    else:
        value = trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    distributions[name] = distribution_to_json(trial.distributions[name])
    return value
