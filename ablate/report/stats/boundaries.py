"""Computes the error level of each look at a study whose seeds are added after looks.

Several looks at 5 % each make more than 5 % errors (three looks: 12 % of the studies), so the error
is spent over the looks, by the cube of the share of the seeds. A cube leaves most of it to the last
look, where the power is:

Kim and DeMets (1987), "Design and analysis of group sequential tests based on the type I error
spending rate function", Biometrika 74(1).

Boundaries from the normal distribution are wrong for few seeds. The joint distribution of t over
the looks depends on neither the mean nor the spread (Jennison and Turnbull 1991, "Exact
calculations for sequential t, chi-squared and F tests", Biometrika 78(1)), so it is simulated once
per schedule, with the same numbers at every call.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]

SPENDING_POWER = 3
NUM_STUDIES = 200_000
MAX_NUMBERS = 4_000_000  # bounds the time for schedules of many seeds
MIN_EVENTS = 50  # with fewer simulated studies to spend on, a look has its own share only
ALPHAS = np.geomspace(1e-4, 1, 25)  # error levels over all looks at which levels are tabulated


def compute_spent_share(num_seeds: int, max_seeds: int) -> float:
    """Computes the share of alpha, in [0, 1], that looks may have spent with so many seeds."""
    return (min(num_seeds, max_seeds) / max_seeds) ** SPENDING_POWER


def compute_level(alpha: float, seed_counts: tuple[int, ...], max_seeds: int) -> float:
    """Computes the p-value below which the last of these looks decides.

    Args:
        alpha: Error level over all looks.
        seed_counts: Number of seeds at each look so far.
        max_seeds: Number of seeds that the study declares at most.

    Returns:
        0 beyond the declared seeds, where nothing is left to spend.
    """
    levels = _tabulate_levels(seed_counts, max_seeds)
    return float(_interpolate(alpha, ALPHAS, levels)) if levels[-1] else 0.0


def correct_for_looks(p: float, seed_counts: tuple[int, ...], max_seeds: int) -> float:
    """Computes the error level over all looks at which a p-value of the last look decides."""
    levels = _tabulate_levels(seed_counts, max_seeds)
    return min(float(_interpolate(p, levels, ALPHAS)), 1.0) if levels[-1] else 1.0


@cache
def _tabulate_levels(seed_counts: tuple[int, ...], max_seeds: int) -> Numbers:
    """Tabulates the level of the last look for every level of `ALPHAS`."""
    spent = [compute_spent_share(count, max_seeds) for count in (0, *seed_counts)]
    budgets = np.diff(spent)
    if len(seed_counts) == 1:
        return np.asarray(ALPHAS * budgets[0])
    if not budgets[-1]:
        return np.zeros_like(ALPHAS)
    ps = _simulate_p_values(seed_counts)  # (looks, studies)
    levels = [_find_levels(ps, alpha * budgets)[-1] for alpha in ALPHAS]
    return np.maximum.accumulate(levels)


def _find_levels(ps: Numbers, budgets: Numbers) -> list[float]:
    """Finds the level of each look such that undecided studies are decided at its budget."""
    undecided = np.ones(ps.shape[1], dtype=bool)
    levels: list[float] = []
    for of_look, budget in zip(ps, budgets, strict=True):
        level, events = float(budget), int(budget * ps.shape[1])
        if levels and events >= MIN_EVENTS:
            left = of_look[undecided]
            level = float(np.partition(left, events)[events]) if events < len(left) else 1.0
        levels.append(max(level, float(budget)))  # never below what the look may spend by itself
        undecided &= of_look >= levels[-1]
    return levels


@cache
def _simulate_p_values(seed_counts: tuple[int, ...]) -> Numbers:
    """Simulates p-values of a t-test at each look without a difference, (looks, studies)."""
    studies = min(NUM_STUDIES, MAX_NUMBERS // seed_counts[-1])
    values = np.random.default_rng(0).normal(size=(studies, seed_counts[-1]))
    ps = np.ones((len(seed_counts), studies))
    for look, count in enumerate(seed_counts):
        if count > 1:
            seen = values[:, :count]
            t = np.abs(seen.mean(axis=1)) / seen.std(axis=1, ddof=1) * np.sqrt(count)
            ps[look] = 2 * special.stdtr(count - 1, -t)
    return ps


def _interpolate(value: float, xs: Numbers, ys: Numbers) -> float:
    """Interpolates on logarithms; proportional below the first entry, constant above the last."""
    if value <= xs[0]:
        return float(value * ys[0] / xs[0])
    return float(np.exp(np.interp(np.log(value), np.log(xs), np.log(ys))))
