"""Estimates the error of a contrast from the residuals of all levels of its factor, with a guard.

Two levels and three seeds leave two degrees of freedom, which detect almost nothing. If all levels
of a factor vary alike from seed to seed, the residuals of a table of levels and seeds (less the
means of its rows and columns) estimate the same variance with more. If they do not vary alike, the
pooled variance is wrong for the noisy level. So the variance of a contrast is the largest of

- the variance of its own differences, halved,
- the variance of each of its two levels, estimated from the residuals (Grubbs 1948, "On estimating
  precision of measuring instruments and product variability", JASA 43),
- half the pooled variance,

and its null distribution is that of this maximum under equal spreads: t, averaged over how the
residuals fall out. Two further guards: from five seeds on, a contrast uses its own differences only
(Student's t, seeds - 1 degrees of freedom) if the level with the largest residuals exceeds the 99 %
quantile under equal spreads (Cochran 1941, Annals of Eugenics 11). With fewer seeds that test sees
nothing, so p-values are at least those of a t distribution with 2.5 degrees of freedom per seed
beyond the first. The rule was chosen by simulation: `tests/report/simulate_verdicts.py`.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]

MIN_LEVELS = 3  # with two, the pooled variance is that of the contrast's own differences
MIN_SEEDS = 3  # with two, one residual per level says nothing about equal spreads
MIN_SEEDS_OF_TEST = 5  # from here on, unequal spreads are tested for
SPREAD_TEST_LEVEL = 0.01
FLOOR = 0.5  # share of the pooled variance below which no contrast's variance is estimated
FREEDOM_PER_SEED = 2.5  # degrees of freedom of the guard for few seeds
NUM_NODES = 400  # quantiles that stand for a distribution: probabilities agree to 0.001
MAX_DRAWS = 8000  # tables of residuals to derive quantiles from
MAX_NUMBERS = 400_000  # in all of these tables, which bounds time and memory


@dataclass(frozen=True)
class NullLaw:
    """The distribution of a mean difference over its standard error if there is no difference.

    Args:
        num_seeds: Number of seeds, at least 2.
        num_levels: Levels whose residuals are pooled; below `MIN_LEVELS`, Student's t.
    """

    num_seeds: int
    num_levels: int = 2

    @property
    def is_pooled(self) -> bool:
        """Whether the standard error uses more than the contrast's own differences."""
        return self.num_levels >= MIN_LEVELS

    def compute_p(self, t: float) -> float:
        """Computes the probability that the absolute value exceeds that of `t`."""
        t = abs(t)
        if not self.is_pooled:
            return 2 * float(special.stdtr(self.num_seeds - 1, -t))
        freedom = (self.num_levels - 1) * (self.num_seeds - 1)
        ratios = simulate_residuals(self.num_levels, self.num_seeds).ratios
        p = 2 * float(special.stdtr(freedom, -t * np.sqrt(ratios)).mean())
        if self.num_seeds < MIN_SEEDS_OF_TEST:
            p = max(p, 2 * float(special.stdtr(self._guard_freedom, -t)))
        return p

    def compute_critical_value(self, alpha: float) -> float:
        """Computes the value that is exceeded in absolute value with probability `alpha`."""
        return _find_critical_value(self, alpha)

    @property
    def spread_quantiles(self) -> Numbers:
        """Equally likely estimates of the spread, relative to the true one, (nodes,)."""
        if not self.is_pooled:
            return _compute_spread_quantiles(self.num_seeds - 1)
        return simulate_residuals(self.num_levels, self.num_seeds).spreads

    @property
    def _guard_freedom(self) -> float:
        return min(FREEDOM_PER_SEED, self.num_levels - 1) * (self.num_seeds - 1)


@cache
def _compute_spread_quantiles(freedom: int) -> Numbers:
    steps = (np.arange(NUM_NODES) + 0.5) / NUM_NODES
    quantiles: Numbers = np.sqrt(special.chdtri(freedom, steps) / freedom)
    return quantiles


@dataclass(frozen=True, kw_only=True)
class ContrastSpread:
    """The spread over seeds of a contrast's differences, in points."""

    law: NullLaw
    tested: float  # the spread behind the standard error: errs to the large side
    typical: float  # the most precise estimate, for planning


def estimate_spread(values: Numbers) -> ContrastSpread | None:
    """Estimates the spread of the differences of two levels from all levels of the factor.

    Args:
        values: Scores or gains, (levels, seeds): the level, the one it is compared with, others.

    Returns:
        None if the contrast's own differences must do: there are fewer than `MIN_LEVELS` levels or
        `MIN_SEEDS` seeds, or the spreads of the levels are unequal.
    """
    num_levels, num_seeds = values.shape
    if num_levels < MIN_LEVELS or num_seeds < MIN_SEEDS:
        return None
    estimates = estimate_variances(values)
    if not estimates.pooled > 0:
        return None
    most = float(estimates.levels.max()) / float(estimates.pooled)
    null = simulate_residuals(num_levels, num_seeds)
    if num_seeds >= MIN_SEEDS_OF_TEST and most > null.largest_level:
        return None
    return ContrastSpread(
        law=NullLaw(num_seeds, num_levels),
        tested=float(np.sqrt(2 * estimates.guarded)),
        typical=float(np.sqrt(2 * estimates.pooled)),
    )


@dataclass(frozen=True, kw_only=True)
class VarianceEstimates:
    """Estimates of the variance of one level, from tables of levels and seeds; (...) is leading."""

    pooled: Numbers  # (...)
    levels: Numbers  # (..., levels), from each level's own residuals
    guarded: Numbers  # (...), that of the contrast of the first two levels


def estimate_variances(values: Numbers) -> VarianceEstimates:
    """Estimates the variance of a level from residuals, for tables (..., levels, seeds)."""
    num_levels, num_seeds = values.shape[-2:]
    centred = values - values.mean(axis=-1, keepdims=True)
    residuals = centred - centred.mean(axis=-2, keepdims=True)
    squares = (residuals**2).sum(axis=-1) / (num_seeds - 1)  # (..., levels)
    total = squares.sum(axis=-1)
    pooled = total / (num_levels - 1)
    # the residuals of a level hold a share of the noise of all others
    unmixed = squares - total[..., None] / (num_levels * (num_levels - 1))
    unmixed *= num_levels / (num_levels - 2)
    own = (centred[..., 0, :] - centred[..., 1, :]).var(axis=-1, ddof=1) / 2
    candidates = (own, unmixed[..., 0], unmixed[..., 1], FLOOR * pooled)
    return VarianceEstimates(
        pooled=pooled,
        levels=squares * num_levels / (num_levels - 1),
        guarded=np.maximum.reduce(candidates),
    )


@dataclass(frozen=True, kw_only=True)
class ResidualQuantiles:
    """Quantiles of variance estimates under equal normal spreads."""

    ratios: Numbers  # (nodes,), guarded variance over the pooled one
    spreads: Numbers  # (nodes,), square root of the guarded variance over the true one
    largest_level: float  # 99 % quantile of the largest variance of a level over the pooled one


@cache
def simulate_residuals(num_levels: int, num_seeds: int) -> ResidualQuantiles:
    """Derives quantiles under equal normal spreads; the same numbers at every call."""
    draws = max(1000, min(MAX_DRAWS, MAX_NUMBERS // (num_levels * num_seeds)))
    tables = np.random.default_rng(0).normal(size=(draws, num_levels, num_seeds))
    estimates = estimate_variances(tables)
    steps = (np.arange(NUM_NODES) + 0.5) / NUM_NODES
    largest = estimates.levels.max(axis=-1) / estimates.pooled
    return ResidualQuantiles(
        ratios=np.quantile(estimates.guarded / estimates.pooled, steps),
        spreads=np.sqrt(np.quantile(estimates.guarded, steps)),
        largest_level=float(np.quantile(largest, 1 - SPREAD_TEST_LEVEL)),
    )


@cache
def _find_critical_value(law: NullLaw, alpha: float) -> float:
    if not law.is_pooled:
        return -float(special.stdtrit(law.num_seeds - 1, alpha / 2))
    low, high = 0.0, 1.0
    while law.compute_p(high) > alpha:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if law.compute_p(middle) > alpha else (low, middle)
    return high
