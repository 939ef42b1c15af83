"""What a few seeds can and cannot say: intervals, paired contrasts, Holm, equivalence, power.

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
from scipy import special, stats

MOST_SEEDS = 50  # a study that needs more further seeds than this needs another question
NEGLIGIBLE = 1e-9  # spread below this share of the numbers is rounding


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds with its Student-t interval and the two-sided p of *the mean is zero*."""

    n: int
    mean: float | None
    sd: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def has_no_spread(self) -> bool:
        """Says whether all numbers were the same: t has nothing to divide by."""
        return self.error == 0


def t_interval(values: Sequence[float], *, alpha: float) -> Estimate:
    """Estimates the mean of some numbers, one a seed."""
    n = len(values)
    mean = float(np.mean(values)) if n else None
    sd = _spread_within([np.asarray(values, dtype=float)])
    if mean is None or sd is None:
        return Estimate(n=n, mean=mean)
    error = sd / float(np.sqrt(n))
    known = Estimate(n=n, mean=mean, sd=sd, error=error)
    if error == 0:
        return known  # coarse scores tie by chance too often for p = 0 to be honest
    half = -float(special.stdtrit(n - 1, alpha / 2)) * error
    p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return replace(known, low=mean - half, high=mean + half, p=p)


def paired(level: Sequence[float], baseline: Sequence[float], *, alpha: float) -> Estimate:
    """Estimates the mean difference of two arms whose numbers are in the same order of seeds."""
    return t_interval(np.subtract(level, baseline).tolist(), alpha=alpha)


def interaction(groups: Sequence[Sequence[float]]) -> float | None:
    """Tests whether the group means differ by more than the spread within groups explains.

    The one-way F-test. None with fewer than two groups, or with one number in each.
    """
    filled = [np.asarray(group, dtype=float) for group in groups if len(group)]
    within = _spread_within(filled)
    if len(filled) < 2 or within is None:
        return None
    sizes = np.array([len(group) for group in filled])
    means = np.array([group.mean() for group in filled])
    between = float(sizes @ (means - sizes @ means / sizes.sum()) ** 2) / (len(filled) - 1)
    if within == 0:
        return 1.0 if np.ptp(means) <= _rounding(filled) else 0.0
    freedom = int(sizes.sum()) - len(filled)
    return float(special.fdtrc(len(filled) - 1, freedom, between / within**2))


def seed_correlation(
    level: Sequence[Sequence[float]], baseline: Sequence[Sequence[float]]
) -> float | None:
    """Correlates two arms over seeds, within combinations: what the pairing was worth.

    None where no combination has three pairs (two always correlate by 1) or an arm is flat.
    """
    pairs = [(a, b) for a, b in zip(level, baseline, strict=True) if len(a) > 2]
    if not pairs:
        return None
    one = np.concatenate([np.asarray(a) - np.mean(a) for a, _ in pairs])
    two = np.concatenate([np.asarray(b) - np.mean(b) for _, b in pairs])
    rounding = _rounding([np.asarray([*a, *b]) for a, b in pairs])
    spread = float(np.sqrt(one @ one)), float(np.sqrt(two @ two))
    if min(spread) <= rounding:
        return None
    return float(np.clip(one @ two / (spread[0] * spread[1]), -1, 1))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Corrects a family of p-values by Holm's steps; a missing p counts as 1 in the family."""
    values = np.array([1.0 if p is None else p for p in ps])
    order = np.argsort(values, kind="stable")
    factors = np.arange(len(values), 0, -1)
    steps = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = steps
    return [None if p is None else float(c) for p, c in zip(ps, corrected, strict=True)]


def equivalence(estimate: Estimate, *, margin: float) -> float | None:
    """Returns the p of two one-sided tests: small when the mean lies surely within the margin.

    None where no spread was observed: two seeds that tie do not show that others would.
    """
    if estimate.mean is None or not estimate.error:
        return None
    t = (abs(estimate.mean) - margin) / estimate.error
    return float(special.stdtr(estimate.n - 1, t))


def further_seeds(
    estimate: Estimate, *, effect: float, alpha: float, power: float = 0.8
) -> int | None:
    """Counts the seeds to add so that a two-sided paired test sees `effect` with that power.

    Takes the observed spread as the true one. At least 1; `MOST_SEEDS + 1` means *more than
    that*; None where no spread was observed.
    """
    if not estimate.sd:
        return None
    seeds = estimate.n + np.arange(1, MOST_SEEDS + 1)
    enough = np.flatnonzero(paired_power(effect, estimate.sd, seeds, alpha=alpha) >= power)
    return int(enough[0]) + 1 if len(enough) else MOST_SEEDS + 1


def paired_power(effect: float, sd: float, seeds: np.ndarray, *, alpha: float) -> np.ndarray:
    """Returns the chance that a paired test sees `effect`, for each count of seeds (2 or more)."""
    freedom = seeds - 1
    shift = effect / sd * np.sqrt(seeds)
    critical = -special.stdtrit(freedom, alpha / 2)
    # far off, a tail underflows to NaN: the right one is then surely 1, the left one 0
    right = np.nan_to_num(stats.nct.sf(critical, freedom, shift), nan=1.0)
    left = np.nan_to_num(stats.nct.cdf(-critical, freedom, shift), nan=0.0)
    power: np.ndarray = right + left
    return power


def verdict_word(
    estimate: Estimate, *, p: float | None, p_equivalent: float | None, alpha: float
) -> str:
    """Returns *better*, *worse*, *equivalent* or *undecided*, from p-values already corrected.

    Equivalence comes first: the margin is what the study declared to count as equal.
    """
    if p is None or estimate.mean is None:
        return "undecided"
    if p_equivalent is not None and p_equivalent < alpha:
        return "equivalent"
    if p < alpha:
        return "better" if estimate.mean > 0 else "worse"
    return "undecided"


def _spread_within(groups: Sequence[np.ndarray]) -> float | None:
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < 1:
        return None
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    sd = float(np.sqrt(squares / freedom))
    return 0.0 if sd <= _rounding(groups) else sd


def _rounding(groups: Sequence[np.ndarray]) -> float:
    return NEGLIGIBLE * max(1.0, max(float(np.abs(group).max()) for group in groups))
