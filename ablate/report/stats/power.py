"""What a number of seeds can see, and how many it takes: for a plan, and for the undecided.

The noncentral t of a paired test, at the level that Holm asks of a family's smallest p: what
is promised holds for each contrast by itself, whatever becomes of the others.
"""

import math
from bisect import bisect_left
from functools import cache

import numpy as np
from scipy import special

from ablate.report.stats.alpha_spending import Looks
from ablate.report.stats.statistics import Estimate

MAX_FURTHER_SEEDS = 100  # a study that needs more further seeds than this needs another question
TARGET_POWER = 0.8  # chance of seeing a difference that is there
NUM_BISECTIONS = 40  # of the interval in which an effect may lie
NUM_NODES = 400  # of the spread's distribution: chances agree with the exact ones to 0.001


def compute_power(
    effect: float, spread: float, seeds: int, *, alpha: float, family: int = 1
) -> float:
    """Returns the chance that a contrast which differs by `effect` is called better or worse.

    `spread` is the standard deviation over seeds of the paired differences, in the units of
    `effect`; `family` counts the contrasts that are corrected together. Raises `ValueError` for a
    spread of 0 or less, fewer than two seeds, or an empty family.
    """
    _validate(spread=spread, seeds=seeds, family=family)
    freedom, shift = seeds - 1, effect / spread * math.sqrt(seeds)
    critical = _compute_critical_t(seeds, alpha / family)
    missed = float(special.nctdtr(freedom, shift, critical))
    opposite = float(special.nctdtr(freedom, shift, -critical))
    # far off, a tail underflows to NaN: then it is surely empty
    return 1 - (0.0 if math.isnan(missed) else missed) + (0.0 if math.isnan(opposite) else opposite)


def compute_detectable_difference(
    spread: float, seeds: int, *, alpha: float, family: int = 1, wanted: float = TARGET_POWER
) -> float:
    """Returns the smallest difference that so many seeds see with the power `wanted`, below 1.

    In the units of `spread`, the standard deviation over seeds of the paired differences. Raises
    `ValueError` as `power` does.
    """
    _validate(spread=spread, seeds=seeds, family=family)

    def is_seen(effect: float) -> bool:
        return compute_power(effect, 1.0, seeds, alpha=alpha, family=family) >= wanted

    low, high = 0.0, _compute_critical_t(seeds, alpha / family)
    while not is_seen(high):
        low, high = high, 2 * high
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_seen(middle) else (middle, high)
    return spread * high


def compute_decision_probability(
    mean: float, spread: float, seeds: int, *, margin: float, alpha: float, family: int = 1
) -> float:
    """Returns the chance that a contrast is called better, worse or equivalent.

    `mean` is the true difference, `spread` the standard deviation over seeds of the paired
    differences, `margin` what counts as equal, all in one unit. With no margin this is `power`.
    Given the spread that is observed, the mean is normal; its chances are averaged over that.
    """
    _validate(spread=spread, seeds=seeds, family=family)
    error = spread / math.sqrt(seeds)
    errors = error * _get_spread_quantiles(seeds - 1)  # (nodes,)
    differs = _compute_critical_t(seeds, alpha / family) * errors  # means beyond are a difference
    equal = margin + float(special.stdtrit(seeds - 1, alpha / family)) * errors  # and within, equal
    equal = np.clip(equal, 0, differs)
    open_above = special.ndtr((differs - mean) / error) - special.ndtr((equal - mean) / error)
    open_below = special.ndtr((-equal - mean) / error) - special.ndtr((-differs - mean) / error)
    return 1 - float(np.mean(open_above + open_below))


def estimate_further_seeds(
    estimate: Estimate, *, margin: float, alpha: float, family: int = 1, looks: Looks | None = None
) -> int | None:
    """Counts the seeds to add so that either verdict is reached in 4 of 5 studies.

    A difference or equivalence within `margin`, at the level that Holm asks of a family's
    smallest p. Takes the observed mean and spread as the true ones. At least 1; one more than
    `most_further(looks)` means *more than that*; None where no spread was observed.
    """
    mean, spread = estimate.mean, estimate.sd
    if mean is None or not spread:
        return None

    def chance(further: int) -> float:
        share = (
            1.0 if looks is None else further / looks.max_seeds
        )  # of the error, at the next look
        n = estimate.n + further
        return compute_decision_probability(
            mean, spread, n, margin=margin, alpha=alpha * share, family=family
        )

    return 1 + bisect_left(range(1, get_max_further_seeds(looks) + 1), TARGET_POWER, key=chance)


def get_max_further_seeds(looks: Looks | None) -> int:
    """Returns the most seeds that may be asked for: those left of the declared, or `MOST_SEEDS`."""
    return MAX_FURTHER_SEEDS if looks is None else looks.num_left


@cache
def _get_spread_quantiles(freedom: int) -> np.ndarray:
    """Returns equally likely observed spreads, in units of the true one, (nodes,)."""
    return np.sqrt(special.chdtri(freedom, (np.arange(NUM_NODES) + 0.5) / NUM_NODES) / freedom)


def _compute_critical_t(seeds: int, alpha: float) -> float:
    return -float(special.stdtrit(seeds - 1, alpha / 2))


def _validate(*, spread: float, seeds: int, family: int) -> None:
    if not spread > 0:
        raise ValueError(f"`spread` must be above 0; got {spread}")
    if seeds < 2:
        raise ValueError(f"`seeds` must be at least 2, as one shows no spread; got {seeds}")
    if family < 1:
        raise ValueError(f"`family` must be at least 1 contrast; got {family}")
