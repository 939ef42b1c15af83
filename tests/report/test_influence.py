"""Influences of clips are derivatives of the metrics, and give the error of a bootstrap."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from ablate.report.stats.influence import compute_group_influences
from ablate.runs.predictions import ClipPredictions, Kind

STEP = 1e-6
Metric = Callable[[NDArray[np.float64]], float]  # weights of the clips -> percent


def draw_predictions(kind: Kind, seed: int, clips: int = 30, classes: int = 4) -> ClipPredictions:
    draw = np.random.default_rng(seed)
    if kind == "single":
        truth = draw.integers(classes, size=clips)
        predicted = np.where(draw.random(clips) < 0.6, truth, draw.integers(classes, size=clips))
    else:
        truth = draw.random((clips, classes)) < 0.4
        scores = (0.5 * draw.random((clips, classes)) + 0.3 * truth).astype(np.float32)
        predicted = scores if kind == "multi" else scores > 0.5
    return ClipPredictions(
        pooling="mean",
        part="test",
        kind=kind,
        clips=np.arange(clips),
        truth=truth,
        predicted=predicted[None],
        classes=tuple("abcd"[:classes]),
        groups=np.arange(clips) // 2,
        group_names=tuple(map(str, range(clips // 2))),
    )


def get_metric(kept: ClipPredictions, name: str) -> Metric:
    """Returns the metric as scikit-learn computes it from weighted clips."""
    truth, predicted = kept.truth, kept.predicted[0]

    def compute(weights: NDArray[np.float64]) -> float:
        if name == "accuracy":
            return 100 * accuracy_score(truth, predicted, sample_weight=weights)
        if name == "map":
            return 100 * average_precision_score(truth, predicted, sample_weight=weights)
        average = "micro" if name == "segment_f1_micro" else "macro"
        labels = predicted if kept.kind == "single" else predicted > 0.5
        return 100 * f1_score(
            truth, labels, average=average, sample_weight=weights, zero_division=0.0
        )

    return compute


METRICS: list[tuple[Kind, str]] = [
    ("single", "accuracy"),
    ("single", "macro_f1"),
    ("multi", "map"),
    ("multi", "macro_f1"),
    ("events", "segment_f1"),
    ("events", "segment_f1_micro"),
]


@pytest.mark.parametrize(("kind", "metric"), METRICS)
@settings(max_examples=6)
@given(seed=st.integers(0, 30))
def test_an_influence_is_the_derivative_of_the_metric(kind: Kind, metric: str, seed: int) -> None:
    kept = draw_predictions(kind, seed)
    compute, groups = get_metric(kept, metric), len(kept.group_names)
    influences = compute_group_influences(kept, metric)
    assert influences is not None
    for group in (0, groups // 2, groups - 1):
        heavier = np.ones(len(kept.clips))
        heavier[kept.groups == group] += STEP
        slope = (compute(heavier) - compute(np.ones(len(kept.clips)))) / STEP
        assert influences[group] == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize(("kind", "metric"), METRICS)
def test_the_error_from_influences_is_that_of_a_bootstrap(kind: Kind, metric: str) -> None:
    kept, draw = draw_predictions(kind, 1, clips=200), np.random.default_rng(2)
    compute, num_groups = get_metric(kept, metric), len(kept.group_names)
    influences = compute_group_influences(kept, metric)
    assert influences is not None
    drawn = [
        compute(
            np.bincount(draw.integers(num_groups, size=num_groups), minlength=num_groups)[
                kept.groups
            ]
        )
        for _ in range(150)
    ]
    assert np.sqrt(influences @ influences) == pytest.approx(np.std(drawn), rel=0.25)


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_clips_with_equal_scores_share_a_threshold_in_any_order(seed: int) -> None:
    kept = draw_predictions("multi", seed)
    kept = replace(kept, groups=np.arange(30), group_names=tuple(map(str, range(30))))
    kept = replace(kept, predicted=kept.predicted.round(1))  # as votes of few neighbours
    compute, influences = get_metric(kept, "map"), compute_group_influences(kept, "map")
    assert influences is not None
    for clip in (0, 17, 29):
        heavier = 1 + STEP * (np.arange(30) == clip)
        slope = (compute(heavier) - compute(np.ones(30))) / STEP
        assert influences[clip] == pytest.approx(slope, abs=1e-3)
    order = np.random.default_rng(seed).permutation(30)
    other = replace(kept, truth=kept.truth[order], predicted=kept.predicted[:, order])
    assert compute_group_influences(other, "map") == pytest.approx(influences[order])


def test_a_metric_that_needs_more_than_what_is_kept_has_no_influences() -> None:
    assert compute_group_influences(draw_predictions("single", 0), "eer") is None
