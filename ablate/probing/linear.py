"""Logistic regression on frozen features."""

import warnings
from dataclasses import dataclass

import numpy as np

from ablate.probing.metrics import Scores
from ablate.probing.probe import AbstractProbe, Lesson
from ablate.probing.tasks import Labels


@dataclass(frozen=True, kw_only=True)
class Logistic(AbstractProbe):
    """Logistic regression by scikit-learn's L-BFGS, with an L2 penalty of 1 / `strength`.

    Nothing is tuned: the last iterate is used, and no clip that it is asked about is seen. Where
    several classes may hold at once each has a regression of its own.
    """

    strength: float = 0.1  # scikit-learn's C
    iterations: int = 200  # at most

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0 or self.iterations < 1:
            raise ValueError(
                "`strength` must be above 0 and `iterations` at least 1; "
                f"got {self.strength} and {self.iterations}"
            )

    def predict(self, lesson: Lesson) -> Scores:
        known, asked = lesson.features[lesson.known], lesson.features[lesson.asked]
        labels = lesson.labels[lesson.known]
        if not lesson.several:
            return self._fitted(known, labels, asked, lesson.classes)
        scores = np.empty((len(asked), lesson.classes), dtype=np.float32)
        for place, holds in enumerate(labels.T):
            # a class that always or never holds has nothing to be told from
            constant = holds.all() or not holds.any()
            scores[:, place] = (
                float(holds[0])
                if constant
                else self._fitted(known, holds.astype(np.int64), asked, 2)[:, 1]
            )
        return scores

    def _fitted(self, known: Scores, labels: Labels, asked: Scores, classes: int) -> Scores:
        """Fits one regression and returns the probability of each class, (asked, classes)."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=self.iterations)
        with warnings.catch_warnings():
            # a fixed number of steps is the protocol; stopping there is no fault
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(known, labels)
        scores = np.zeros((len(asked), classes), dtype=np.float32)
        scores[:, model.classes_] = model.predict_proba(asked)
        return scores
