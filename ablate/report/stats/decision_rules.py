"""How a study decides: error level, equivalence margin, Holm's correction, interim analyses.

A study may declare that seeds are added after a look at the results: `seeds: {start: 3, max: 8}`.
The error is spent over the looks (see `boundaries`), and a decision at a look is final.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ablate.core.records.plan import StudyPlan
from ablate.report.stats.boundaries import compute_level, compute_spent_share, correct_for_looks
from ablate.report.stats.statistics import correct_by_holm


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The number of seeds at each look so far, the current one last, and the declared maximum.

    Raises:
        ValueError: If the counts do not increase from 1 or more, or `max_seeds` is below 1.
    """

    seed_counts: tuple[int, ...]
    max_seeds: int

    def __post_init__(self) -> None:
        increasing = all(one < other for one, other in pairwise((0, *self.seed_counts)))
        if not self.seed_counts or not increasing:
            raise ValueError(
                f"`seed_counts` must start at 1 or more and increase; got {list(self.seed_counts)}"
            )
        if self.max_seeds < 1:
            raise ValueError(f"`max_seeds` must be at least 1; got {self.max_seeds}")

    @property
    def error_share(self) -> float:
        """The share of alpha, in [0, 1], that the current look may spend; 0 past the last look."""
        before, now = (0, *self.seed_counts)[-2:]
        return compute_spent_share(now, self.max_seeds) - compute_spent_share(
            before, self.max_seeds
        )

    def compute_level(self, alpha: float) -> float:
        """Computes the p-value below which the current look decides."""
        return compute_level(alpha, self.seed_counts, self.max_seeds)

    def correct(self, p: float) -> float:
        """Computes the error level over all looks at which a p-value of this look decides."""
        return correct_for_looks(p, self.seed_counts, self.max_seeds)

    @property
    def history(self) -> "tuple[Looks, ...]":
        """The looks as they were at each look, oldest first; the last entry equals this object."""
        return tuple(
            Looks(seed_counts=self.seed_counts[: i + 1], max_seeds=self.max_seeds)
            for i in range(len(self.seed_counts))
        )

    @property
    def num_left(self) -> int:
        """The number of seeds that may still be added."""
        return max(self.max_seeds - self.seed_counts[-1], 0)


@dataclass(frozen=True, kw_only=True)
class DecisionRules:
    """How a study decides at one look."""

    alpha: float  # error rate of a family of contrasts, over all looks
    margin: float  # points to either side of zero within which two levels count as equal
    looks: Looks | None  # None if the number of seeds is fixed

    @property
    def error_share(self) -> float:
        """The share of alpha, in [0, 1], that may be spent now."""
        return 1.0 if self.looks is None else self.looks.error_share

    @property
    def look_alpha(self) -> float:
        """The error level of intervals: that of this look, all of alpha past the last."""
        level = self.alpha if self.looks is None else self.looks.compute_level(self.alpha)
        return level or self.alpha

    @property
    def history(self) -> "tuple[DecisionRules, ...]":
        """The rules at every look, oldest first; the last entry equals this object."""
        past = (None,) if self.looks is None else self.looks.history
        return tuple(dataclasses.replace(self, looks=looks) for looks in past)

    def correct(self, ps: Sequence[float | None]) -> list[float | None]:
        """Corrects a family of p-values for the looks and for its size (Holm)."""
        looks = self.looks
        if looks is None:
            return correct_by_holm(ps)
        return correct_by_holm([None if p is None else looks.correct(p) for p in ps])


def read_decision_rules(plan: StudyPlan) -> DecisionRules:
    """Reads the rules of a study's plan as they are at its latest look."""
    report = plan.report
    return DecisionRules(
        alpha=report.alpha, margin=report.equivalence_margin, looks=read_looks(plan)
    )


def read_looks(plan: StudyPlan) -> Looks | None:
    """Reads the recorded looks of a plan; None if the number of seeds is fixed.

    Raises:
        ValueError: If the recorded counts do not increase.
    """
    if plan.looks is None:
        return None
    return Looks(seed_counts=plan.looks.seed_counts, max_seeds=plan.looks.max_seeds)


def compute_look_alpha(seed_counts: tuple[int, ...], max_seeds: int, *, alpha: float) -> float:
    """Computes the error level of the last of these looks, such that all together keep `alpha`.

    Args:
        seed_counts: Number of seeds at each look so far.
        max_seeds: Number of seeds that the study declares at most.
        alpha: Error rate over all looks.

    Raises:
        ValueError: As `Looks`.
    """
    return Looks(seed_counts=seed_counts, max_seeds=max_seeds).compute_level(alpha)


def format_coverage(*levels: float) -> str:
    """Formats the coverage of intervals with these error levels: `95 %`, or `95, 98.12 %`."""
    return f"{', '.join(sorted({f'{100 * (1 - level):.4g}' for level in levels}))} %"
