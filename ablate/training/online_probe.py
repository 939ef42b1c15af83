"""The online probe: validation scores of the encoder during training.

It changes nothing: it has its own random numbers and weights, and its time is not counted as
training time.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ablate.model.encoder import Encoder


@dataclass(frozen=True)
class ProbeResult:
    """Validation scores after `step` steps."""

    step: int
    tasks: Mapping[str, float]  # score of each task in percent, higher is better

    @property
    def score(self) -> float:
        """The mean over tasks, in percent."""
        return sum(self.tasks.values()) / len(self.tasks)


@dataclass
class ProbeHistory:
    """First and last online score of a run, in percent."""

    first: float | None = None  # before training, i.e. the score of the random initialisation
    last: float | None = None
    seconds: float = 0.0  # total time spent on probing


@dataclass(frozen=True, kw_only=True)
class OnlineProbe:
    """Scores the encoder before the first step, every few steps, and after the last.

    Attributes:
        every: Steps between two evaluations.
        num_clips: Number of validation clips over all tasks.
        evaluate: Returns the score of each task in percent.
    """

    every: int
    num_clips: int
    evaluate: Callable[[Encoder], Mapping[str, float]]

    def is_due(self, step: int, steps: int) -> bool:
        """Whether to evaluate after `step` of `steps` steps."""
        return step % self.every == 0 or step == steps

    def run(self, encoder: Encoder, step: int, history: ProbeHistory) -> ProbeResult:
        """Evaluates the encoder and updates the history."""
        start = time.perf_counter()
        result = ProbeResult(step, self.evaluate(encoder))
        if step == 0:
            history.first = result.score
        history.last = result.score
        history.seconds += time.perf_counter() - start
        return result

    def has_fallen(self, history: ProbeHistory) -> bool:
        """Whether the last score is lower than the first by more than two standard errors.

        The standard error is that of the first score as a proportion of `num_clips` clips. Returns
        False if the run was not probed before its first step.
        """
        if history.first is None or history.last is None:
            return False
        share = history.first / 100
        error = math.sqrt(share * (1 - share) / self.num_clips)
        return history.first - history.last > 200 * error
