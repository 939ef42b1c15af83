"""Power of contrasts over seeds, and the number of seeds that a decision needs.

At the level that Holm requires of the smallest p-value of a family, so the power holds for each
contrast independently of the others. From the noncentral t distribution or, if the residuals of
other levels are used, averaged over the distribution of the estimated spread.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy import special

from ablate.report.stats.decision_rules import Looks, compute_look_alpha
from ablate.report.stats.residuals import MIN_SEEDS, NullLaw
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

    def is_detected(effect: float) -> bool:
        power = compute_power(effect, 1.0, seeds, alpha=alpha, family=family, levels=levels)
        return power >= target_power

    low, high = 0.0, _get_law(seeds, levels).compute_critical_value(alpha / family)
    while not is_detected(high):
        low, high = high, 2 * high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    return spread * high


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
    law, error = _get_law(seeds, levels), spread / math.sqrt(seeds)
    errors = error * law.spread_quantiles  # (nodes,)
    # observed means beyond `differs` are called different, those within `equal` equivalent
    differs = law.compute_critical_value(alpha / family) * errors
    equal = margin - law.compute_critical_value(2 * alpha / family) * errors
    equal = np.clip(equal, 0, differs)
    open_above = special.ndtr((differs - mean) / error) - special.ndtr((equal - mean) / error)
    open_below = special.ndtr((-equal - mean) / error) - special.ndtr((-differs - mean) / error)
    return 1 - float(np.mean(open_above + open_below))


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
        levels: Levels whose residuals are pooled; 2 for Student's t.
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
    levels = law.num_levels

    def count(true_mean: float, true_spread: float) -> int:
        def probability(seeds: int) -> float:
            return compute_decision_probability(
                true_mean,
                true_spread,
                seeds,
                margin=margin,
                alpha=alpha,
                family=family,
                levels=levels,
            )

        candidates = range(2, MAX_STUDY_SEEDS + 1)
        return 2 + bisect_left(candidates, TARGET_POWER, key=probability)

    freedom = (max(levels, 2) - 1) * (estimate.n - 1)
    spreads = spread * np.sqrt(freedom / special.chdtri(freedom, UNCERTAINTY))
    deviations = special.ndtri(UNCERTAINTY) / math.sqrt(estimate.n)
    counts = [
        count(mean + deviation * each, each)
        for each in spreads.tolist()
        for deviation in deviations.tolist()
    ]
    low, high = np.quantile(counts, (0.1, 0.9), method="nearest").tolist()
    typical = count(mean, spread)
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
