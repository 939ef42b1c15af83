"""Translates between points of a sweep and the trials of Optuna."""

from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ablate.config.search_space import Dimension, FinishedPoint, Range


def is_void(trial: FrozenTrial) -> bool:
    """Returns whether a trial does not count as evaluated."""
    return "void" in trial.user_attrs


def get_direction(objective: str) -> StudyDirection:
    """Returns the direction of an objective: only `score` is maximised."""
    return StudyDirection.MAXIMIZE if objective == "score" else StudyDirection.MINIMIZE


def to_finished_point(trial: FrozenTrial) -> FinishedPoint:
    """Converts a trial that has ended."""
    done = trial.state == TrialState.COMPLETE
    values = tuple(trial.values) if done and trial.values is not None else None
    facts = trial.user_attrs
    return FinishedPoint(trial.number, trial.params, values, facts.get("reason"), facts)


def suggest_value(
    trial: optuna.Trial, distributions: dict[str, str], name: str, dimension: Dimension
) -> Any:
    """Draws the value of a dimension; adds its distribution to `distributions`, as JSON."""
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
