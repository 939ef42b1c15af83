"""Logistic regression for classes, and ridge regression for numbers, by scikit-learn."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ablate.audio.annotations import LabelKind
from ablate.probing.metrics import Scores
from ablate.probing.probe import NUMBERS, AbstractProbe, ProbeData
from ablate.probing.tasks import Labels
from ablate.probing.training import NumberScale


@dataclass(frozen=True, kw_only=True)
class Logistic(AbstractProbe):
    """Logistic regression by scikit-learn's L-BFGS, with an L2 penalty of 1 / `strength`.

    Nothing is tuned on held-out clips: the last iterate is used. For multi-label tasks each class
    has its own regression.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        strength: Inverse of the penalty, scikit-learn's `C`.
        iterations: Greatest number of iterations.

    Example:
        probes: {linear: {type: ablate.probing.linear.Logistic, strength: 0.1}}
    """

    strength: float = 0.1
    iterations: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0 or self.iterations < 1:
            raise ValueError(
                "`strength` must be above 0 and `iterations` at least 1; "
                f"got {self.strength} and {self.iterations}"
            )

    def predict(self, data: ProbeData) -> Scores:
        train, query = data.features[data.train], data.features[data.query]
        labels = data.labels[data.train]
        if not data.is_multilabel:
            return self._fit_predict(train, labels, query, data.num_classes)
        scores = np.empty((len(query), data.num_classes), dtype=np.float32)
        for column, holds in enumerate(labels.T):
            # a class that always or never holds cannot be fitted
            constant = holds.all() or not holds.any()
            scores[:, column] = (
                float(holds[0])
                if constant
                else self._fit_predict(train, holds.astype(np.int64), query, 2)[:, 1]
            )
        return scores

    def _fit_predict(self, train: Scores, labels: Labels, query: Scores, classes: int) -> Scores:
        """Fits one regression and returns the class probabilities, (query items, classes)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=self.iterations)
        with warnings.catch_warnings():
            # the protocol is a fixed number of iterations, converged or not
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(train, labels)
        scores = np.zeros((len(query), classes), dtype=np.float32)
        scores[:, model.classes_] = model.predict_proba(query)
        return scores


@dataclass(frozen=True, kw_only=True)
class Ridge(AbstractProbe):
    """Ridge regression of numbers, such as tempo, or valence and arousal.

    Its score is R2 in percent, the mean over the numbers of a task; `metric: mae` gives the mean
    absolute error instead, as a score with a minus sign. Features and numbers are scaled by the
    training clips, so that `penalty` does not depend on units. Labels of the clips are written
    `tempo=120.5` or `valence=0.3;arousal=-0.2` (see `ablate.audio.annotations`).

    Hoerl and Kennard, "Ridge Regression", Technometrics 1970.
    https://doi.org/10.1080/00401706.1970.10488634; R2 of valence and arousal as in Yuan et al.,
    "MARBLE: Music Audio Representation Benchmark for Universal Evaluation", NeurIPS 2023.
    https://arxiv.org/abs/2306.10548

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        penalty: Weight of the squared coefficients beside the mean squared error, with scaled
            features and numbers.

    Example:
        probes: {ridge: {type: ablate.probing.linear.Ridge, penalty: 0.1,
          tasks: {type: ablate.audio.sources.Folder, manifest: emotion/manifest.csv}}}
    """

    kinds: ClassVar[frozenset[LabelKind]] = NUMBERS

    penalty: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty <= 0:
            raise ValueError(f"`penalty` must be above 0; got {self.penalty}")

    def predict(self, data: ProbeData) -> Scores:
        from sklearn.linear_model import Ridge as RidgeRegression

        train, numbers = data.features[data.train], data.labels[data.train]
        scale = NumberScale.fit(numbers)
        targets = scale.normalise(torch.from_numpy(numbers)).numpy()
        # scikit-learn adds the penalty to the sum of the squared errors, not to their mean
        model = RidgeRegression(alpha=self.penalty * len(train))
        model.fit(train.astype(np.float64), targets.astype(np.float64))
        predicted = model.predict(data.features[data.query].astype(np.float64))
        rows = torch.from_numpy(predicted.reshape(len(data.query), data.num_classes)).float()
        scores: Scores = scale.restore(rows).numpy()
        return scores
