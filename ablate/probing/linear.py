"""The logistic-regression probe."""

import warnings
from dataclasses import dataclass

import numpy as np

from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, ProbeData
from ablate.probing.tasks import Labels


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
