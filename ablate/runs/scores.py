"""Matches score files to the probe settings of a study, and averages scores over tasks."""

from collections.abc import Collection, Mapping
from typing import Any

Settings = Mapping[str, Any]


def get_statistics_pooling(view: str) -> str:
    """Returns the pooling of log-mel statistics that corresponds to a view of an encoder.

    It is the same pooling, without a layer; `mean_std` for a summary token.
    """
    pooling = view.rpartition(".")[2]
    return "mean_std" if pooling == "summary" else pooling


def is_score_by(settings: Settings, scored: Settings) -> bool:
    """Returns whether a score file with the probe settings `scored` belongs to a probe.

    `settings` are the probe's, with every default written out. If it has a data set of its own,
    the content of that data set is compared, not its location.
    """
    return _without_location(settings) == _without_location(scored)


def uses_own_clips(settings: Settings) -> bool:
    """Returns whether a probe scores on the clips of its trial, not on a data set of its own."""
    return "content" not in settings


def mean_over_tasks(
    scores: Mapping[str, float | None],
    tasks: Collection[str],
    weights: Mapping[str, float] | None = None,
) -> float | None:
    """Returns the mean score over all of `tasks` in percent; None if one has no score.

    A mean over fewer tasks could not be compared with other means. `weights` are by task, as in
    X-ARES (https://arxiv.org/abs/2505.16369); by default all tasks count alike.
    """
    weighted = [
        (score, 1 if weights is None else weights[task])
        for task in sorted(tasks)
        if (score := scores.get(task)) is not None
    ]
    if not weighted or len(weighted) < len(tasks):
        return None
    return sum(score * weight for score, weight in weighted) / sum(weight for _, weight in weighted)


def _without_location(settings: Settings) -> Settings:
    if uses_own_clips(settings):
        return settings
    return {key: value for key, value in settings.items() if key != "tasks"}
