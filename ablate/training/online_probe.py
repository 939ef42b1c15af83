"""The online probe: what the encoder knows while it trains, beside what it knew before.

It looks and touches nothing: the training's chance and weights are not its own, and the seconds
that it takes are not counted as training.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ablate.model.encoder import Encoder


@dataclass(frozen=True)
class Standing:
    """What was found after `step` steps."""

    step: int
    tasks: Mapping[str, float]  # of each its score on validation clips: percent, higher is better

    @property
    def score(self) -> float:
        """The mean over tasks."""
        return sum(self.tasks.values()) / len(self.tasks)


@dataclass
class Course:
    """How a training has stood so far; scores in percent."""

    first: float | None = None  # the score before training, which is the random-init twin's
    last: float | None = None
    seconds: float = 0.0  # that probing took


@dataclass(frozen=True, kw_only=True)
class Online:
    """Looks at the encoder before the first step, every so many steps, and after the last."""

    every: int  # steps
    asked: int  # validation clips, over all tasks
    examine: Callable[[Encoder], Mapping[str, float]]  # gives the score of each task, in percent

    def due(self, step: int, steps: int) -> bool:
        """Whether to look after `step` of `steps` steps."""
        return step % self.every == 0 or step == steps

    def look(self, encoder: Encoder, step: int, course: Course) -> Standing:
        """Examines the encoder, and adds what was found to the course."""
        began = time.perf_counter()
        standing = Standing(step, self.examine(encoder))
        if step == 0:
            course.first = standing.score
        course.last = standing.score
        course.seconds += time.perf_counter() - began
        return standing

    def fell(self, course: Course) -> bool:
        """Whether the last score is below the first, the random-init twin's, by more than luck.

        Luck is two standard errors of the first score, as a share of `asked` clips. A course that
        was not followed from its start is not judged.
        """
        if course.first is None or course.last is None:
            return False
        share = course.first / 100
        return course.first - course.last > 200 * math.sqrt(share * (1 - share) / self.asked)
