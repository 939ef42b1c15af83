"""The linear probe: multinomial logistic regression on frozen features."""

from dataclasses import dataclass

from ablate.probing.probe import AbstractProbe, Matrix
from ablate.probing.tasks import Indices


@dataclass(frozen=True, kw_only=True)
class Logistic(AbstractProbe):
    """Logistic regression by scikit-learn's L-BFGS, with an L2 penalty of 1 / `strength`.

    Nothing is tuned: the last iterate is used, and no clip that is examined is seen.
    """

    strength: float = 0.1  # scikit-learn's C
    iterations: int = 200

    def __post_init__(self) -> None:
        if self.strength <= 0 or self.iterations < 1:
            raise ValueError(
                "`strength` must be above 0 and `iterations` at least 1; "
                f"got {self.strength} and {self.iterations}"
            )

    def predict(self, known: Matrix, labels: Indices, asked: Matrix) -> Indices:
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=self.iterations)
        with warnings.catch_warnings():
            # a fixed number of steps is the protocol; stopping there is no fault
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(known, labels)
        guessed: Indices = model.predict(asked)
        return guessed
