"""A probe whose settings are chosen on validation clips from a grid."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ablate.audio.annotations import LabelKind
from ablate.parts import build, replace_settings, resolve
from ablate.probing.metrics import Scores, convert_to_score
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.tasks import Labels
from ablate.probing.training import hold_out

MAX_POINTS = 256
SHARED = ("metric", "shots", "label_share")  # settings that `probe` may give instead
NOT_TUNED = (*SHARED, "views", "tasks", "content", "label_procedure", "probe", "grid")


@dataclass(frozen=True, kw_only=True)
class Tuned(AbstractProbe):
    """Chooses settings of another probe on validation clips, as HEAR and MARBLE do.

    Every point of the grid is trained on the training clips and scored on the validation clips, by
    the metric of the score (for events, by the F1 of moments); the first best one then predicts the
    query clips. For folds, the fold before the held-out one is used, and without a validation part
    a fifth of the training clips. The test part is never used. A probe that selects its epoch does
    so on the same clips. `metric`, `shots` and `label_share` may also be settings of `probe`.

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
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.

    Example:
        >>> from ablate.probing.linear import Logistic
        >>> probe = Tuned(probe=Logistic(), grid={"strength": [0.01, 0.1, 1.0]})
        >>> [point.strength for point in probe.points]
        [0.01, 0.1, 1.0]

    Raises:
        ValueError: For a grid that is empty or too large, an unknown setting or a wrong value, and
            for a setting that differs from that of `probe`.
    """

    # version 1: settings of `probe` for metric and labels were ignored, and `metric` did not choose
    version: ClassVar[int] = 2

    probe: AbstractProbe
    grid: Mapping[str, list[Any]]  # setting of the probe -> values to try

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probe.needs_audio or self.probe.reads_tokens or self.probe.is_official:
            raise ValueError("`probe` must read one vector per clip or moment, and not be official")
        if not self.probe.predicts:
            raise ValueError(
                f"`probe` must predict what it is tuned by, and {type(self.probe).__name__} does "
                "not; use it as a probe of the study, without `Tuned`"
            )
        if names := [f"`{name}`" for name in self.grid if name in NOT_TUNED]:
            raise ValueError(f"`grid` cannot vary {', '.join(names)}; set it outside of `grid`")
        for name in SHARED:
            own, inner = getattr(self, name), getattr(self.probe, name)
            if None not in (own, inner) and own != inner:
                raise ValueError(f"`{name}` is {own} here and {inner} in `probe`; keep one of them")
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
    def kinds(self) -> frozenset[LabelKind]:  # type: ignore[override]
        """The kinds of tasks that the tuned probe can score."""
        return self.probe.kinds

    @property
    def headline(self) -> str | None:  # type: ignore[override]
        """The metric of the tuned probe's score."""
        return self.probe.headline

    @property
    def num_seeds(self) -> int:
        return self.probe.num_seeds

    @property
    def needs_validation(self) -> bool:
        return True

    def for_task(self, task: str) -> AbstractProbe:
        own = {name: getattr(self.probe, name) for name in SHARED}
        settings = {name: value for name, value in own.items() if value is not None}
        return replace_settings(self, **settings) if settings else self

    def measure(self, scores: Scores, truth: Labels) -> dict[str, float]:
        return self.probe.measure(scores, truth)

    def predict(self, data: ProbeData) -> Scores:
        train, valid = hold_out(data)
        tuning = replace(data, train=train, valid=data.valid, query=valid)
        scored = [
            self._select(point.measure(point.predict(tuning), data.labels[valid]), data)
            for point in self.points
        ]
        best = self.points[int(np.argmax(scored))]
        return best.predict(replace(data, train=train, valid=valid))

    def _select(self, metrics: dict[str, float], data: ProbeData) -> float:
        """Returns the metric by which a point is chosen, higher is better."""
        named = self.metric or self.headline or data.selection_metric
        score = convert_to_score(metrics, named)  # none for segments of events
        return metrics[data.selection_metric] if score is None else score
