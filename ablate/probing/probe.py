"""The probing contract, and the examination that every probe is put through.

Features are standardised by the training part before any probe sees them: cosine neighbours of
raw features follow whichever dimension is largest.
"""

from abc import ABC, abstractmethod
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ablate.probing.tasks import Indices, Task

Matrix = npt.NDArray[np.float32]


class Score(TypedDict):
    """Accuracies in percent; higher is better. Of folds, `test` is the mean over `folds`."""

    valid: float | None
    test: float | None
    folds: list[float]


class AbstractProbe(ABC):
    """Learns labels from frozen features. Subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def predict(self, known: Matrix, labels: Indices, asked: Matrix) -> Indices:
        """Learns from (clips, dim) and their labels; returns a label for each row of `asked`."""


def examine(probe: AbstractProbe, features: Matrix, task: Task) -> Score:
    """Measures a probe's accuracy on a task, over its splits or across its folds."""
    accuracies = {}
    for part, known, asked in task.examinations():
        scaled = standardise(features, known)
        guessed = probe.predict(scaled[known], task.labels[known], scaled[asked])
        accuracies[part] = 100 * float((guessed == task.labels[asked]).mean())
    if task.folded:
        folds = list(accuracies.values())
        return Score(valid=None, test=float(np.mean(folds)), folds=folds)
    return Score(valid=accuracies.get("valid"), test=accuracies.get("test"), folds=[])


def standardise(features: Matrix, known: Indices) -> Matrix:
    """Scales each dimension to mean 0 and deviation 1 over the clips in `known`."""
    mean = features[known].mean(axis=0, dtype=np.float64)
    std = features[known].std(axis=0, dtype=np.float64)
    std[std < 1e-8] = 1.0  # a constant dimension tells nothing; it becomes 0
    scaled: Matrix = ((features - mean) / std).astype(np.float32)
    return scaled
