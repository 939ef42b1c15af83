"""Power of contrasts over seeds, and the number of seeds that a decision needs.

At the level that Holm requires of the smallest p-value of a family, so the power holds for each
contrast independently of the others. From the noncentral t distribution or, if the residuals of
other levels are used, averaged over the distribution of the estimated spread.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.report.stats.decision_rules import Looks, compute_look_alpha
from ablate.report.stats.residuals import MIN_SEEDS, NullLaw, Numbers
from ablate.report.stats.statistics import Estimate

MAX_FURTHER_SEEDS = 100  # if a decision needs more than this, its number is not computed
MAX_STUDY_SEEDS = 100  # the same for a new study
TARGET_POWER = 0.8
UNCERTAINTY = (np.arange(5) + 0.5) / 5  # quantiles at which differences and spreads are tried
NUM_BISECTIONS = 40


def compute_power(
    effect: float, spread: float, seeds: int, *, alpha: float, family: int = 1, levels: int = 2
) -> float:
    """Computes the probability that a contrast with a true difference is called better or worse.

    Args:
        effect: True difference, in points.
        spread: Standard deviation over seeds of the paired differences, in points.
        seeds: Number of seeds.
        alpha: Error level of the family.
        family: Number of contrasts that are corrected together.
        levels: Levels whose residuals are pooled; 2 for Student's t.

    Raises:
        ValueError: If `spread` is not positive, `seeds` is below 2 or `family` below 1.
    """
    _validate(spread=spread, seeds=seeds, family=family)
    law, shift = _get_law(seeds, levels), effect / spread * math.sqrt(seeds)
    critical = law.compute_critical_value(alpha / family)
    if law.is_pooled:
        limits = critical * law.spread_quantiles
        return float(np.mean(special.ndtr(shift - limits) + special.ndtr(-shift - limits)))
    freedom = seeds - 1
    missed = float(special.nctdtr(freedom, shift, critical))
    opposite = float(special.nctdtr(freedom, shift, -critical))
    # a tail that underflows is NaN, and its probability is 0
    return 1 - (0.0 if math.isnan(missed) else missed) + (0.0 if math.isnan(opposite) else opposite)


def compute_detectable_difference(
    spread: float,
    seeds: int,
    *,
    alpha: float,
    family: int = 1,
    levels: int = 2,
    target_power: float = TARGET_POWER,
) -> float:
    """Computes the smallest difference, in points, that is detected with a given power.

    Args:
        spread: Standard deviation over seeds of the paired differences, in points.
        seeds: Number of seeds.
        alpha: Error level of the family.
        family: Number of contrasts that are corrected together.
        levels: Levels whose residuals are pooled; 2 for Student's t.
        target_power: Power below 1.

    Raises:
        ValueError: As `compute_power`.
    """
    _validate(spread=spread, seeds=seeds, family=family)
    return spread * _find_detectable_effect(seeds, alpha, family, levels, target_power)


@cache  # the contrasts of a family differ in their spread only
def _find_detectable_effect(
    seeds: int, alpha: float, family: int, levels: int, target_power: float
) -> float:
    """Finds the smallest effect that is detected, in standard deviations."""

    def is_detected(effect: float) -> bool:
        power = compute_power(effect, 1.0, seeds, alpha=alpha, family=family, levels=levels)
        return power >= target_power

    low, high = 0.0, _get_law(seeds, levels).compute_critical_value(alpha / family)
    while not is_detected(high):
        low, high = high, 2 * high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    return high


def compute_decision_probability(
    mean: float,
    spread: float,
    seeds: int,
    *,
    margin: float,
    alpha: float,
    family: int = 1,
    levels: int = 2,
) -> float:
    """Computes the probability that a contrast is called better, worse or equivalent.

    Given the observed spread, the mean is normally distributed; the probability is averaged over
    the distribution of the observed spread. With a margin of 0 this equals `compute_power`.

    Args:
        mean: True difference, in points.
        spread: Standard deviation over seeds of the paired differences, in points.
        seeds: Number of seeds.
        margin: Equivalence margin to either side of zero, in points.
        alpha: Error level of the family.
        family: Number of contrasts that are corrected together.
        levels: Levels whose residuals are pooled; 2 for Student's t.

    Raises:
        ValueError: As `compute_power`.
    """
    _validate(spread=spread, seeds=seeds, family=family)
    cases = _SeedCases(
        means=np.array([mean]), spreads=np.array([spread]), margin=margin, alpha=alpha / family
    )
    return float(cases.compute_probabilities(np.array([seeds]), levels)[0])


@dataclass(frozen=True, kw_only=True)
class _SeedCases:
    """True differences and spreads, each with a number of seeds of its own."""

    means: Numbers  # (cases,)
    spreads: Numbers  # (cases,)
    margin: float
    alpha: float  # error level per contrast

    def compute_probabilities(self, seeds: NDArray[np.int_], levels: int) -> Numbers:
        """Computes the probabilities of a decision, (cases,); `seeds` is (cases,)."""
        laws = [_get_law(count, levels) for count in seeds.tolist()]
        mean, error = self.means[:, None], (self.spreads / np.sqrt(seeds))[:, None]
        errors = error * np.stack([law.spread_quantiles for law in laws])  # (cases, nodes)
        # observed means beyond `differs` are called different, those within `equal` equivalent
        differs, equal = (
            np.array([law.compute_critical_value(alpha) for law in laws])[:, None] * errors
            for alpha in (self.alpha, 2 * self.alpha)
        )
        equal = np.clip(self.margin - equal, 0, differs)
        undecided = _compute_mass(mean, differs, error)
        if equal.any():
            undecided -= _compute_mass(mean, equal, error)
        probabilities: Numbers = 1 - undecided.mean(axis=1)
        return probabilities

    def count_seeds(self, levels: int) -> list[int]:
        """Finds the smallest number of seeds that reaches the target power, case by case.

        All cases are bisected at once, between 2 and `MAX_STUDY_SEEDS + 1`.
        """
        low = np.full(len(self.means), 2)
        high = np.full(len(self.means), MAX_STUDY_SEEDS + 1)
        while (low < high).any():
            middle = (low + high) // 2
            reached = self.compute_probabilities(middle, levels) >= TARGET_POWER
            low, high = (
                np.where(reached, low, np.minimum(middle + 1, high)),
                np.where(reached, middle, high),
            )
        return low.tolist()


def estimate_further_seeds(
    estimate: Estimate, *, margin: float, alpha: float, family: int = 1, looks: Looks | None = None
) -> int | None:
    """Estimates how many seeds to add so that four of five studies reach a verdict.

    A verdict is a difference, or equivalence within the margin, at the level that Holm requires of
    the smallest p-value of a family. The observed mean and spread are taken as the true ones.

    Args:
        estimate: Observed paired difference, in points.
        margin: Equivalence margin to either side of zero, in points.
        alpha: Error level of the family.
        family: Number of contrasts that are corrected together.
        looks: Looks at the results so far; None if the number of seeds is fixed.

    Returns:
        At least 1; `get_max_further_seeds(looks) + 1` means more than the maximum. None without an
        observed spread.
    """
    mean, spread, law = estimate.mean, estimate.spread, estimate.law
    if mean is None or not spread or law is None:
        return None

    def probability(further: int) -> float:
        seeds, level = estimate.n + further, alpha
        if looks is not None:  # all of them added for the next look
            counts = (*looks.seed_counts, looks.seed_counts[-1] + further)
            level = compute_look_alpha(counts, looks.max_seeds, alpha=alpha)
        return compute_decision_probability(
            mean, spread, seeds, margin=margin, alpha=level, family=family, levels=law.num_levels
        )

    candidates = range(1, get_max_further_seeds(looks) + 1)
    return 1 + bisect_left(candidates, TARGET_POWER, key=probability)


def _compute_mass(mean: Numbers, limit: Numbers, error: Numbers) -> Numbers:
    """Computes the probability of an observed mean within `limit` to either side of zero."""
    mass: Numbers = special.ndtr((limit - mean) / error) - special.ndtr((-limit - mean) / error)
    return mass


@dataclass(frozen=True, kw_only=True)
class SeedRange:
    """Seeds that a new study would need; above `MAX_STUDY_SEEDS`, more than that."""

    low: int
    typical: int  # if the observed difference and spread are the true ones
    high: int


def estimate_study_seeds(
    estimate: Estimate, *, margin: float, alpha: float, family: int = 1
) -> SeedRange | None:
    """Estimates how many fresh seeds a new study needs so that four of five reach a verdict.

    The true difference and spread are uncertain, so the number is too: `low` and `high` are the
    10 % and 90 % quantiles over differences and spreads that agree with the observed ones.

    Args:
        estimate: Observed paired difference, in points.
        margin: Equivalence margin to either side of zero, in points.
        alpha: Error level of the family.
        family: Number of contrasts that are corrected together.

    Returns:
        None without an observed spread.
    """
    mean, spread, law = estimate.mean, estimate.spread, estimate.law
    if mean is None or not spread or law is None:
        return None
    _validate(spread=spread, seeds=estimate.n, family=family)
    levels = law.num_levels
    freedom = (max(levels, 2) - 1) * (estimate.n - 1)
    spreads = spread * np.sqrt(freedom / special.chdtri(freedom, UNCERTAINTY))
    deviations = special.ndtri(UNCERTAINTY) / math.sqrt(estimate.n)
    cases = _SeedCases(
        means=np.append(mean, mean + np.outer(spreads, deviations)),
        spreads=np.append(spread, np.repeat(spreads, len(deviations))),
        margin=margin,
        alpha=alpha / family,
    )
    typical, *counts = cases.count_seeds(levels)
    low, high = np.quantile(counts, (0.1, 0.9), method="nearest").tolist()
    return SeedRange(low=min(low, typical), typical=typical, high=max(high, typical))


def get_max_further_seeds(looks: Looks | None) -> int:
    """Returns how many seeds may be added: the rest of the declared ones, or a fixed maximum."""
    return MAX_FURTHER_SEEDS if looks is None else looks.num_left


def _get_law(seeds: int, levels: int) -> NullLaw:
    return NullLaw(seeds, levels if seeds >= MIN_SEEDS else 2)


def _validate(*, spread: float, seeds: int, family: int) -> None:
    if not spread > 0:
        raise ValueError(f"`spread` must be above 0; got {spread}")
    if seeds < 2:
        raise ValueError(f"`seeds` must be at least 2, since one shows no spread; got {seeds}")
    if family < 1:
        raise ValueError(f"`family` must be at least 1 contrast; got {family}")
