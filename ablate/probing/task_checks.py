"""Checks at planning time that a probe can be trained and scored on a task with its settings."""

import numpy as np

from ablate.probing.metrics import Metric, Scores
from ablate.probing.onsets import TOLERANCES
from ablate.probing.probe import AbstractProbe
from ablate.probing.scoring import divide_clips
from ablate.probing.tasks import Indices, Task

_EVENT_METRICS = ("segment_f1", "segment_f1_micro", "segment_error_rate", *TOLERANCES)


class TaskSettingError(ValueError):
    """A setting of a probe with which a task cannot be scored.

    Attributes:
        path: The name of the setting, if it is one of those of every probe.
    """

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = path


def check_settings_for_task(probe: AbstractProbe, task: Task) -> None:
    """Raises `TaskSettingError` if a probe cannot score a task with its settings.

    These are `metric`, `shots`, `label_share` and those that `AbstractProbe.check_task` checks.
    """
    probe = probe.for_task(task.name)
    if not any(probe.can_score(task.kind, pooling) for pooling in probe.views.poolings):
        return  # the report has no score of this probe for the task
    if probe.metric not in (None, probe.headline):
        _check_metric(probe, task, probe.metric)
    _check_number_of_clips(probe, task)
    try:
        probe.check_task(task)
    except ValueError as error:
        raise TaskSettingError(str(error)) from error


def _check_metric(probe: AbstractProbe, task: Task, metric: Metric) -> None:
    for split in task.splits():
        for part, clips in split.query.items():
            metrics = _list_metrics(probe, task, clips)
            if metric not in metrics:
                where = f"fold `{part}`" if task.folded else f"the {part} clips"
                raise TaskSettingError(
                    f"task `{task.name}` has no metric `{metric}` on {where}, but "
                    f"{', '.join(metrics)}; choose one of these, or leave that task out",
                    "metric",
                )


def _list_metrics(probe: AbstractProbe, task: Task, clips: Indices) -> list[str]:
    """Lists the metrics of a probe on some clips, by measuring made-up scores."""
    if task.kind == "events":
        return ["segment_f1"] if probe.is_official else list(_EVENT_METRICS)
    scores: Scores = np.full((len(clips), len(task.classes)), 0.25, dtype=np.float32)
    return list(probe.measure_task(task.name, scores, task.labels[clips]))


def _check_number_of_clips(probe: AbstractProbe, task: Task) -> None:
    if probe.shots is None and probe.label_share is None:
        return
    for seed in range(probe.num_seeds):
        for split in task.splits():
            try:
                train, valid, _ = divide_clips(probe, task, split, seed)
            except ValueError as error:
                raise TaskSettingError(str(error), "shots") from error
            if probe.needs_validation and not len(valid) and len(train) < 2:
                raise TaskSettingError(
                    f"{probe.label_share} of the training clips of task `{task.name}` is one clip, "
                    "which cannot be trained on and selected by; raise it, or add a validation "
                    "part",
                    "label_share",
                )
