"""What a number of seeds can see, and how many it takes: for a plan, and for the undecided.

The noncentral t of a paired test, at the level that Holm asks of a family's smallest p: what
is promised holds for each contrast by itself, whatever becomes of the others.
"""

import math
from bisect import bisect_left

from scipy import special

from ablate.reporting.sequential import Looks
from ablate.reporting.statistics import Estimate

MOST_SEEDS = 50  # a study that needs more further seeds than this needs another question
POWER = 0.8  # chance of seeing a difference that is there
HALVINGS = 40  # of the interval in which an effect may lie


def power(effect: float, spread: float, seeds: int, *, alpha: float, family: int = 1) -> float:
    """Returns the chance that a contrast which differs by `effect` is called better or worse.

    `spread` is the standard deviation over seeds of the paired differences, in the units of
    `effect`; `family` counts the contrasts that are corrected together. Raises `ValueError` for a
    spread of 0 or less, fewer than two seeds, or an empty family.
    """
    _check(spread=spread, seeds=seeds, family=family)
    freedom, shift = seeds - 1, effect / spread * math.sqrt(seeds)
    critical = _critical(seeds, alpha / family)
    missed = float(special.nctdtr(freedom, shift, critical))
    opposite = float(special.nctdtr(freedom, shift, -critical))
    # far off, a tail underflows to NaN: then it is surely empty
    return 1 - (0.0 if math.isnan(missed) else missed) + (0.0 if math.isnan(opposite) else opposite)


def detectable_difference(
    spread: float, seeds: int, *, alpha: float, family: int = 1, wanted: float = POWER
) -> float:
    """Returns the smallest difference that so many seeds see with the power `wanted`, below 1.

    In the units of `spread`, the standard deviation over seeds of the paired differences. Raises
    `ValueError` as `power` does.
    """
    _check(spread=spread, seeds=seeds, family=family)

    def is_seen(effect: float) -> bool:
        return power(effect, 1.0, seeds, alpha=alpha, family=family) >= wanted

    low, high = 0.0, _critical(seeds, alpha / family)
    while not is_seen(high):
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_seen(middle) else (middle, high)
    return spread * high


def further_seeds(
    estimate: Estimate, *, effect: float, alpha: float, looks: Looks | None = None
) -> int | None:
    """Counts the seeds to add so that a two-sided paired test sees `effect` with 80 % power.

    `effect` is in the units of the estimate; `alpha` is the test's level, already divided by the
    size of the family. Takes the observed spread as the true one. At least 1; one more than
    `most_further(looks)` means *more than that*; None where no spread was observed.
    """
    spread = estimate.sd
    if not spread:
        return None

    def seen(further: int) -> float:
        share = 1.0 if looks is None else further / looks.most  # of the error, at the next look
        return power(effect, spread, estimate.n + further, alpha=alpha * share)

    return 1 + bisect_left(range(1, most_further(looks) + 1), POWER, key=seen)


def most_further(looks: Looks | None) -> int:
    """Returns the most seeds that may be asked for: those left of the declared, or `MOST_SEEDS`."""
    return MOST_SEEDS if looks is None else looks.left


def _critical(seeds: int, alpha: float) -> float:
    return -float(special.stdtrit(seeds - 1, alpha / 2))


def _check(*, spread: float, seeds: int, family: int) -> None:
    if not spread > 0:
        raise ValueError(f"`spread` must be above 0; got {spread}")
    if seeds < 2:
        raise ValueError(f"`seeds` must be at least 2, as one shows no spread; got {seeds}")
    if family < 1:
        raise ValueError(f"`family` must be at least 1 contrast; got {family}")
