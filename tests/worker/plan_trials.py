"""Has the worker's code validate trials, as a study does."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.core.records.plan import PlanReply, PlanRequest, ResolvedTrial
from ablate.worker.validation import validate


def ignore(event: dict[str, Any]) -> None:
    """Ignores a progress event."""


def plan_trials(
    trials: Sequence[dict[str, Any]],
    probes: Mapping[str, dict[str, Any]],
    cache: Path,
    emit: Callable[[dict[str, Any]], None] = ignore,
    **fields: Any,
) -> PlanReply:
    """Validates trials; `fields` are further ones of the request."""
    request = PlanRequest(trials=tuple(trials), probes=dict(probes), **fields)
    return validate(request, cache, emit)


def plan_trial(
    settings: dict[str, Any],
    cache: Path,
    probes: Mapping[str, dict[str, Any]] | None = None,
    **fields: Any,
) -> ResolvedTrial:
    """Validates one trial, which must have no problem."""
    [trial] = plan_trials([settings], probes or {}, cache, **fields).get_resolved()
    return trial
