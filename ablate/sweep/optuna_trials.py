"""Translates between points of a sweep and the trials of Optuna."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ablate.config.search_space import Dimension, FinishedPoint, Range
from ablate.sweep.pruners import get_pruner_scores


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


def create_ended_trial(
    distributions: Mapping[str, str], tried: FinishedPoint, bounds: Mapping[str, float]
) -> FrozenTrial:
    """Creates the trial of a point that has ended, to rebuild a lost storage.

    Args:
        distributions: by parameter, as Optuna's JSON.
        tried: the point.
        bounds: upper bounds of costs.
    """
    reason = {"reason": tried.reason} if tried.reason else {}
    pruned = TrialState.PRUNED if "pruned" in tried.facts else TrialState.FAIL
    return optuna.create_trial(
        state=TrialState.COMPLETE if tried.values is not None else pruned,
        values=tried.values,
        intermediate_values=get_pruner_scores(tried),
        params=dict(tried.params),
        distributions={k: json_to_distribution(v) for k, v in distributions.items()},
        user_attrs={**tried.facts, **reason},
        system_attrs=compute_constraints(tried.facts, bounds),
    )


def compute_constraints(facts: Mapping[str, Any], bounds: Mapping[str, float]) -> dict[str, float]:
    """Computes by how much costs exceed their bounds, under the names that Optuna's samplers read.

    A cost that was not recorded is left out.
    """
    return {
        f"constraints:{name}": facts[cost] - bound
        for name, bound in bounds.items()
        if (cost := name.removeprefix("cost.")) in facts
    }


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
