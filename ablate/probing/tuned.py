"""A probe whose settings are chosen on validation clips from a grid."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ablate.parts import build, resolve
from ablate.probing.metrics import Scores, measure
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.training import hold_out

MAX_POINTS = 256


@dataclass(frozen=True, kw_only=True)
class Tuned(AbstractProbe):
    """Chooses settings of another probe on validation clips, as HEAR and MARBLE do.

    Every point of the grid is trained on the training clips and scored on the validation clips, by
    the selection metric of the task; the first best one then predicts the query clips. For folds,
    the fold before the held-out one is used, and without a validation part a fifth of the training
    clips. The test part is never used. A probe that selects its epoch does so on the same clips.

    Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022.
    https://arxiv.org/abs/2203.03022

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        probe: The probe whose settings are chosen; its own `views` and `tasks` are not used.
        grid: Values to try for settings of the probe; all combinations are tried.
        content: Set when a study is planned, not by the user.

    Example:
        >>> from ablate.probing.linear import Logistic
        >>> probe = Tuned(probe=Logistic(), grid={"strength": [0.01, 0.1, 1.0]})
        >>> [point.strength for point in probe.points]
        [0.01, 0.1, 1.0]

    Raises:
        ValueError: For a grid that is empty or too large, an unknown setting or a wrong value.
    """

    probe: AbstractProbe
    grid: Mapping[str, list[Any]]  # setting of the probe -> values to try

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probe.needs_audio or self.probe.reads_tokens or self.probe.is_official:
            raise ValueError("`probe` must read one vector per clip or moment, and not be official")
        if not self.grid or not all(self.grid.values()):
            raise ValueError("`grid` must list values for one or more settings of `probe`")
        size = int(np.prod([len(values) for values in self.grid.values()]))
        if size > MAX_POINTS:
            raise ValueError(f"`grid` has {size} points; at most {MAX_POINTS} are allowed")
        _ = self.points  # checks names and values

    @property
    def points(self) -> list[AbstractProbe]:
        """The probe with the settings of each point of the grid."""
        settings = resolve(self.probe)
        return [
            build({**settings, **dict(zip(self.grid, values, strict=True))}, expect=AbstractProbe)
            for values in itertools.product(*self.grid.values())
        ]

    @property
    def standardises(self) -> bool:  # type: ignore[override]
        """Whether the tuned probe gets standardised features."""
        return self.probe.standardises

    @property
    def num_seeds(self) -> int:
        return self.probe.num_seeds

    @property
    def needs_validation(self) -> bool:
        return True

    def predict(self, data: ProbeData) -> Scores:
        train, valid = hold_out(data)
        tuning = replace(data, train=train, valid=data.valid, query=valid)
        scored = [
            measure(point.predict(tuning), data.labels[valid])[data.selection_metric]
            for point in self.points
        ]
        best = self.points[int(np.argmax(scored))]
        return best.predict(replace(data, train=train, valid=valid))
