"""Which clips a score is of, and whether it was made as a probe's settings ask for it."""

from collections.abc import Collection, Mapping
from typing import Any

STATISTICS_POOLING = "mean_std"  # log-mel statistics have no other
Settings = Mapping[str, Any]


def is_score_by(settings: Settings, result: Settings) -> bool:
    """Tells whether a probe of these settings gave a result, the content of a score file.

    If it examines on clips of its own, what these hold counts, and not where they lie.
    """
    return _placeless(settings) == _placeless(result["settings"])


def examines_own(settings: Settings) -> bool:
    """Tells whether a probe examines on the clips of its trial, and not on others."""
    return "content" not in settings


def mean_over_tasks(
    scores: Mapping[str, float | None],
    asked: Collection[str],
    weights: Mapping[str, float] | None = None,
) -> float | None:
    """Returns the mean score over all tasks in `asked`, in percent; None where one has no score.

    A mean over some of the tasks would be compared with means over all of them. `weights` are by
    task, as X-ARES has them (https://arxiv.org/abs/2505.16369); without, all count alike.
    """
    weighed = [
        (score, 1 if weights is None else weights[task])
        for task in sorted(asked)
        if (score := scores.get(task)) is not None
    ]
    if not weighed or len(weighed) < len(asked):
        return None
    return sum(score * weight for score, weight in weighed) / sum(weight for _, weight in weighed)


def _placeless(settings: Settings) -> Settings:
    if examines_own(settings):
        return settings
    return {key: value for key, value in settings.items() if key != "tasks"}
