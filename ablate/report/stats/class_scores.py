"""Counts confusions and scores every class, from the predictions of one probe for one task."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablate.report.results import TrialResult
from ablate.report.run import read_clip_predictions
from ablate.runs.predictions import ClipPredictions

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The scores of every class, (classes,), in percent: means over probe seeds.

    A class that is never predicted has precision 0, one that never occurs recall 0. Probabilities
    from 0.5 count as predicted.
    """

    support: NDArray[np.int64]  # clips, or seconds of a task of events, with the class
    precision: Numbers
    recall: Numbers
    f1: Numbers


def list_test_predictions(trial: TrialResult) -> Iterator[tuple[str, ClipPredictions]]:
    """Yields task and predictions for test clips of the trained encoder, by the study's score."""
    probe, pooling = trial.probe_key
    for task, name, kept in read_clip_predictions(trial.run, pooling):
        if name == probe and kept.part == "test":
            yield task, kept


def count_confusions(kept: ClipPredictions) -> Numbers:
    """Counts the clips of each true class (rows) by predicted class, as a mean over probe seeds.

    Only for tasks with one label per clip.
    """
    size = len(kept.classes)
    pairs = kept.truth * size + kept.predicted  # (probe seeds, clips)
    counts = np.bincount(pairs.astype(np.int64).ravel(), minlength=size * size)
    return counts.reshape(size, size) / len(kept.predicted)


def compute_class_scores(kept: ClipPredictions) -> ClassScores:
    """Computes the scores of every class."""
    truth, predicted = _list_labels(kept)
    hits = (truth & predicted).sum(axis=1)  # (probe seeds, classes)
    support, claims = truth.sum(axis=0), predicted.sum(axis=1)
    return ClassScores(
        support=support,
        precision=100 * (hits / np.maximum(claims, 1)).mean(axis=0),
        recall=100 * (hits / np.maximum(support, 1)).mean(axis=0),
        f1=100 * (2 * hits / np.maximum(claims + support, 1)).mean(axis=0),
    )


def _list_labels(kept: ClipPredictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Lists whether rows have each class, (rows, classes), and whether it was predicted."""
    if kept.kind != "single":
        return kept.truth > 0.5, kept.predicted > 0.5
    classes = np.arange(len(kept.classes))
    return kept.truth[:, None] == classes, kept.predicted[..., None] == classes
