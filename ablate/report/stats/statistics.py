"""Statistics for few seeds: intervals, effect sizes, Holm, equivalence and interaction tests.

Student (1908), "The probable error of a mean", Biometrika 6(1).
Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6(2).
Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power approach",
J. Pharmacokin. Biopharm. 15(6).

A number that cannot be computed is None, never NaN: an interval from one seed, a test of
identical differences. The special functions are called directly because `scipy.stats.t` spends a
hundred times longer on checking its arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from ablate.report.stats.residuals import ContrastSpread, NullLaw

NEGLIGIBLE = 1e-9  # relative spread below which differences are rounding errors


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds with its interval and the two-sided p-value of a zero mean.

    All fields but `n`, `p` and `law` have the unit of the values: points, for scores and
    differences. The interval and p are Student's t, or use the residuals of other levels as well.
    """

    n: int  # number of values, one per seed
    mean: float | None  # None without values
    sd: float | None = None  # standard deviation with n - 1; None below two values
    standard_error: float | None = None  # standard error of the mean; None below two values
    low: float | None = None  # lower end of the interval; None if all values are equal
    high: float | None = None  # upper end of the interval; None if all values are equal
    p: float | None = None  # None below two values, or if all values are equal
    spread: float | None = None  # the most precise estimate of `sd`; None as `sd`
    # law of mean / standard_error; None if `p` is None
    law: NullLaw | None = field(default=None, repr=False)

    @property
    def is_constant(self) -> bool:
        """Whether all values are equal, so that t is undefined."""
        return self.standard_error == 0


def estimate_mean(
    values: Sequence[float], *, alpha: float, pooled: ContrastSpread | None = None
) -> Estimate:
    """Estimates the mean of values, one per seed, with its interval of coverage 1 - `alpha`.

    Equal values give neither an interval nor a p-value; a single value gives a mean only.

    Args:
        values: One value per seed.
        alpha: Error level of the interval.
        pooled: Spread that was estimated from other levels as well; None for Student's t.
    """
    n = len(values)
    if n < 2:
        return Estimate(n=n, mean=float(values[0]) if n else None)
    numbers = np.asarray(values, dtype=float)
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1))
    if sd <= _get_rounding_tolerance(numbers):
        # coarse scores tie by chance, so p = 0 would be wrong
        return Estimate(n=n, mean=mean, sd=0.0, standard_error=0.0, spread=0.0)
    law = NullLaw(n) if pooled is None else pooled.law
    error = (sd if pooled is None else pooled.tested) / float(np.sqrt(n))
    half = law.compute_critical_value(alpha) * error
    return Estimate(
        n=n,
        mean=mean,
        sd=sd,
        standard_error=error,
        low=mean - half,
        high=mean + half,
        p=law.compute_p(mean / error),
        spread=sd if pooled is None else pooled.typical,
        law=law,
    )


def compute_interaction_p(differences: Sequence[Sequence[float]]) -> float | None:
    """Tests whether differences depend on the combination of the other factors.

    Two combinations of one seed are correlated, so they are compared within the seed: a paired
    t-test for every two combinations, Bonferroni-corrected. Unlike the F-test of repeated measures
    it does not assume equal variances.

    Args:
        differences: Differences in points, (seeds, combinations).

    Returns:
        The smallest p-value times the number of pairs of combinations, at most 1; None with fewer
        than two seeds or combinations, or if no two combinations show a spread.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    one, other = np.triu_indices(table.shape[1], k=1)
    gaps = table[:, one] - table[:, other]
    spread = gaps.std(axis=0, ddof=1)
    has_spread = spread > _get_rounding_tolerance(table)
    if not has_spread.any():
        return None
    t = np.abs(gaps.mean(axis=0)[has_spread]) / spread[has_spread] * np.sqrt(len(table))
    smallest = float(2 * special.stdtr(len(table) - 1, -t.max()))
    return min(smallest * len(one), 1.0)


def compute_gap_spread(differences: Sequence[Sequence[float]]) -> float | None:
    """Computes the spread over seeds of the gap between two combinations, pooled over pairs.

    Args:
        differences: Differences in points, (seeds, combinations).

    Returns:
        None with fewer than two seeds or combinations.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    one, other = np.triu_indices(table.shape[1], k=1)
    return float(np.sqrt((table[:, one] - table[:, other]).var(axis=0, ddof=1).mean()))


def compute_effect_size(estimate: Estimate) -> float | None:
    """Computes Hedges' g of a paired difference: in its standard deviations, bias-corrected.

    Hedges (1981), "Distribution theory for Glass's estimator of effect size and related
    estimators", J. Educ. Statist. 6(2). The correction is for small samples. None without a
    spread, and below three seeds, where the correction is not defined.
    """
    freedom = estimate.n - 1
    if estimate.mean is None or not estimate.sd or freedom < 2:
        return None
    log_bias = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return estimate.mean / estimate.sd * float(np.exp(log_bias) / np.sqrt(freedom / 2))


def compute_seed_correlation(
    level: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]]
) -> float | None:
    """Computes the correlation of two arms over seeds within combinations: the value of pairing.

    Args:
        level: Scores, (combinations, seeds).
        baseline: Scores of the same seeds in the same order, (combinations, seeds).

    Returns:
        Pearson's r of the deviations from each combination's mean; None if no combination has
        three pairs (two always correlate perfectly) or an arm is constant.

    Raises:
        ValueError: If the arms have different lengths.
    """
    pairs = [(a, b) for a, b in zip(level, baseline, strict=True) if len(a) > 2]
    if not pairs:
        return None
    one = np.concatenate([np.asarray(a) - np.mean(a) for a, _ in pairs])
    two = np.concatenate([np.asarray(b) - np.mean(b) for _, b in pairs])
    rounding = _get_rounding_tolerance(np.concatenate([[*a, *b] for a, b in pairs]))
    spread = float(np.sqrt(one @ one)), float(np.sqrt(two @ two))
    if min(spread) <= rounding:
        return None
    return float(np.clip(one @ two / (spread[0] * spread[1]), -1, 1))


def correct_by_holm(ps: Sequence[float | None]) -> list[float | None]:
    """Corrects a family of p-values by Holm's method (1979); the order is kept.

    A missing p-value counts as 1 in the family, and stays missing.
    """
    values = np.array([1.0 if p is None else p for p in ps])
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    steps = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = steps
    return [None if p is None else float(c) for p, c in zip(ps, corrected, strict=True)]


def compute_equivalence_p(estimate: Estimate, *, margin: float) -> float | None:
    """Computes the p-value of Schuirmann's two one-sided tests (TOST) of equivalence.

    It is small if the mean lies within `margin` (unit of the mean) to either side of zero. None
    without an observed spread: two seeds with equal scores do not show that others would agree.
    """
    if estimate.mean is None or not estimate.standard_error or estimate.law is None:
        return None
    t = (abs(estimate.mean) - margin) / estimate.standard_error
    tail = estimate.law.compute_p(t) / 2
    return tail if t < 0 else 1 - tail


def compute_equivalence_interval(estimate: Estimate, *, alpha: float) -> tuple[float, float] | None:
    """Computes the interval that lies within the margin if two one-sided tests reach `alpha`.

    Its coverage is 1 - 2 `alpha`, so it is narrower than that of the estimate. None without an
    observed spread.
    """
    if estimate.mean is None or not estimate.standard_error or estimate.law is None:
        return None
    half = estimate.law.compute_critical_value(2 * alpha) * estimate.standard_error
    return estimate.mean - half, estimate.mean + half


def get_verdict_word(
    estimate: Estimate, *, p: float | None, p_equivalent: float | None, alpha: float
) -> str:
    """Returns *better*, *worse*, *equivalent* or *undecided*, from corrected p-values.

    Equivalence has precedence over a significant difference: the study declared that differences
    within the margin count as equal.
    """
    if p is None or estimate.mean is None:
        return "undecided"
    if p_equivalent is not None and p_equivalent < alpha:
        return "equivalent"
    if p < alpha:
        return "better" if estimate.mean > 0 else "worse"
    return "undecided"


def _get_rounding_tolerance(values: np.ndarray) -> float:
    return NEGLIGIBLE * max(1.0, float(np.abs(values).max()))
