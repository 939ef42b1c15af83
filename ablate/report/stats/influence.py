"""Computes how much a score depends on each test clip: the basis of its error over draws of clips.

The influence of a clip is the derivative of the score by the weight of the clip. If clips are drawn
independently, the variance of the score is the sum of squared influences (infinitesimal jackknife:
Jaeckel 1972, Bell Labs memorandum 72-1215-11; Efron 1981, "Nonparametric estimates of standard
error", Biometrika 68), which is what a bootstrap over clips approaches. Influences of differences
are differences of influences, so pairs stay paired, and clips that belong together are added up.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ablate.runs.predictions import ClipPredictions, Kind

Numbers = NDArray[np.float64]
Booleans = NDArray[np.bool_]


def compute_group_influences(predictions: ClipPredictions, metric: str) -> Numbers | None:
    """Computes the influence of each group of clips on a score, the mean over probe seeds.

    Args:
        predictions: Predictions for one task. Scores of a task with folds are treated as those of
            all its clips together.
        metric: The metric of the score.

    Returns:
        (groups,), in points; None for a metric that cannot be computed from what is kept.
    """
    compute = _INFLUENCES.get((predictions.kind, metric))
    if compute is None:
        return None
    by_seed = [compute(values, predictions.truth) for values in predictions.predicted]
    by_row = 100 * np.mean(by_seed, axis=0)
    return np.bincount(
        predictions.groups, weights=by_row, minlength=len(predictions.group_names)
    ).astype(np.float64)


def _weigh_hits(hits: Booleans) -> Numbers:
    """Returns the influences on a share of hits, (rows,)."""
    return np.asarray((hits - hits.mean()) / len(hits), dtype=np.float64)


def _weigh_f1(predicted: Booleans, truth: Booleans, averaged: Booleans) -> Numbers:
    """Returns the influences on the mean F1 of the classes `averaged`, (rows,)."""
    hits, counts = predicted & truth, predicted.astype(np.int64) + truth
    totals = np.maximum(counts.sum(axis=0), 1)
    f1 = 2 * hits.sum(axis=0) / totals
    by_class = (2 * hits - f1 * counts) / totals
    return np.asarray(by_class[:, averaged].sum(axis=1) / max(averaged.sum(), 1), dtype=np.float64)


def _weigh_single_f1(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> Numbers:
    classes = np.union1d(predicted, truth)
    one_hot = predicted[:, None] == classes, truth[:, None] == classes
    return _weigh_f1(*one_hot, np.ones(len(classes), dtype=np.bool_))


def _weigh_multi_f1(scores: Numbers, truth: Booleans) -> Numbers:
    return _weigh_f1(scores > 0.5, truth, np.ones(truth.shape[1], dtype=np.bool_))


def _weigh_micro_f1(predicted: Booleans, truth: Booleans) -> Numbers:
    hits = (predicted & truth).sum(axis=1)
    counts = predicted.sum(axis=1) + truth.sum(axis=1)
    total = max(counts.sum(), 1)
    f1 = 2 * hits.sum() / total
    return np.asarray((2 * hits - f1 * counts) / total, dtype=np.float64)


def _weigh_average_precision(scores: Numbers, truth: Booleans) -> Numbers:
    """Returns the influences on the mean average precision of the classes that occur, (rows,).

    Average precision is the mean, over the rows of a class, of the precision among the rows that
    score no lower. A row changes it by its own precision, and by that of every row that scores no
    higher. Rows with equal scores share one threshold, as in scikit-learn.
    """
    total, num_classes = np.zeros(len(truth)), 0
    for values, labels in zip(scores.T, truth.T, strict=True):
        if not labels.any():
            continue
        _, place = np.unique(-values, return_inverse=True)  # 0 is the highest score
        hits = np.bincount(place, weights=labels)
        ranks = np.cumsum(np.bincount(place))
        precision = np.cumsum(hits) / ranks
        mean = (precision * hits).sum() / hits.sum()

        def sum_below(amounts: Numbers) -> Numbers:
            return np.cumsum(amounts[::-1])[::-1]

        if_hit, always = sum_below(hits / ranks), sum_below(hits * precision / ranks)
        by_row = labels * (precision - mean + if_hit)[place] - always[place]
        total += by_row / hits.sum()
        num_classes += 1
    return total / max(num_classes, 1)


def _weigh_retrieval(scores: Numbers, truth: Booleans) -> Numbers:
    nearest = scores == scores.max(axis=1, keepdims=True)
    return _weigh_hits((nearest & truth).any(axis=1))


_INFLUENCES: Mapping[tuple[Kind, str], Callable[..., Numbers]] = {
    ("single", "accuracy"): lambda predicted, truth: _weigh_hits(predicted == truth),
    ("single", "recall_at_1"): lambda predicted, truth: _weigh_hits(predicted == truth),
    ("single", "macro_f1"): _weigh_single_f1,
    ("multi", "map"): _weigh_average_precision,
    ("multi", "macro_f1"): _weigh_multi_f1,
    ("multi", "recall_at_1"): _weigh_retrieval,
    ("events", "segment_f1"): lambda predicted, truth: _weigh_f1(
        predicted, truth, truth.any(axis=0)
    ),
    ("events", "segment_f1_micro"): _weigh_micro_f1,
}
