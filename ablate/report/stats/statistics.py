"""What a few seeds can and cannot say: intervals, effect sizes, Holm, equivalence, interaction.

Student (1908), "The probable error of a mean", Biometrika 6(1).
Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6(2).
Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power approach",
J. Pharmacokin. Biopharm. 15(6).

Every number that cannot be had is None, never NaN: an interval from one seed, a test of
differences that are all the same. The special functions are called directly because
`scipy.stats.t` spends a hundred times longer on checking its arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

NEGLIGIBLE = 1e-9  # spread below this share of the numbers is rounding


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds with its Student-t interval and the two-sided p of *the mean is zero*.

    All but `n` and `p` are in the units of the values: points, for scores and differences.
    """

    n: int  # values, one a seed
    mean: float | None  # None without any value
    sd: float | None = None  # over n - 1; None below two values, as all that follows
    standard_error: float | None = None  # of the mean: sd over the root of n
    low: float | None = None  # of the interval; None where all values were the same
    high: float | None = None
    p: float | None = None  # likewise

    @property
    def is_constant(self) -> bool:
        """Says whether all values were the same, so that t has nothing to divide by."""
        return self.standard_error == 0


def estimate_mean(values: Sequence[float], *, alpha: float) -> Estimate:
    """Estimates the mean of some values, one a seed, with its interval of 1 - `alpha`.

    Without a spread there is neither interval nor p; from one value there is only a mean.
    """
    n = len(values)
    if n < 2:
        return Estimate(n=n, mean=float(values[0]) if n else None)
    numbers = np.asarray(values, dtype=float)
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1))
    if sd <= _get_rounding_tolerance(numbers):
        sd = 0.0
    error = sd / float(np.sqrt(n))
    known = Estimate(n=n, mean=mean, sd=sd, standard_error=error)
    if error == 0:
        return known  # coarse scores tie by chance too often for p = 0 to be honest
    half = -float(special.stdtrit(n - 1, alpha / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return replace(known, low=mean - half, high=mean + half, p=p)


def compute_interaction_p(differences: Sequence[Sequence[float]]) -> float | None:
    """Tests whether differences, (seeds, combinations), depend on the combination.

    Two combinations of one seed share its luck, so they are compared within the seed: a paired
    t for every two combinations. Returns the smallest p times the number of such pairs, at most
    1. Unlike the F-test of repeated measures it does not assume equal spreads. None with fewer
    than two seeds or combinations, or where no two combinations show a spread.
    """
    table = np.asarray(differences, dtype=float)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    one, other = np.triu_indices(table.shape[1], k=1)
    gaps = table[:, one] - table[:, other]
    spread = gaps.std(axis=0, ddof=1)
    seen = spread > _get_rounding_tolerance(table)
    if not seen.any():
        return None
    t = np.abs(gaps.mean(axis=0)[seen]) / spread[seen] * np.sqrt(len(table))
    smallest = float(2 * special.stdtr(len(table) - 1, -t.max()))
    return min(smallest * len(one), 1.0)


def compute_effect_size(estimate: Estimate) -> float | None:
    """Returns Hedges' g of a paired difference: in its standard deviations, less the bias of few.

    Hedges (1981), "Distribution theory for Glass's estimator of effect size and related
    estimators", J. Educ. Statist. 6(2). None without a spread, and below three seeds, where the
    correction is not defined.
    """
    freedom = estimate.n - 1
    if estimate.mean is None or not estimate.sd or freedom < 2:
        return None
    log_bias = special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)
    return estimate.mean / estimate.sd * float(np.exp(log_bias) / np.sqrt(freedom / 2))


def compute_seed_correlation(
    level: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]]
) -> float | None:
    """Correlates two arms over seeds, within combinations: what pairing by seed was worth.

    Each arm is a list a combination, of the scores of the same seeds in the same order. Returns
    Pearson's r about each combination's own mean. None where no combination has three pairs (two
    always correlate perfectly) or an arm is flat. Raises `ValueError` for arms of unlike length.
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
    """Corrects a family of p-values by Holm's steps (1979), in the order that they come in.

    A missing p counts as 1 in the family, and stays missing.
    """
    values = np.array([1.0 if p is None else p for p in ps])
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    steps = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = steps
    return [None if p is None else float(c) for p, c in zip(ps, corrected, strict=True)]


def compute_equivalence_p(estimate: Estimate, *, margin: float) -> float | None:
    """Returns the p of Schuirmann's two one-sided tests: small when the mean lies within `margin`.

    `margin` is in the units of the mean, to either side of zero. None where no spread was
    observed: two seeds that tie do not show that others would.
    """
    if estimate.mean is None or not estimate.standard_error:
        return None
    t = (abs(estimate.mean) - margin) / estimate.standard_error
    return float(special.stdtr(estimate.n - 1, t))


def get_verdict_word(
    estimate: Estimate, *, p: float | None, p_equivalent: float | None, alpha: float
) -> str:
    """Returns *better*, *worse*, *equivalent* or *undecided*, from p-values already corrected.

    Equivalence comes first, even where the difference is significant: the margin is what the
    study declared to count as equal.
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
