"""Finds levels some of whose runs fell far below the others.

The mean of such a level says little, and intervals assume roughly symmetric differences: if 7 % of
its runs fall by 15 standard deviations, a level with the same mean is called better in 2, 5 and
10 % of studies with 3, 5 and 8 seeds, namely where no run happens to fall.
"""

from collections.abc import Iterator, Sequence
from statistics import median

from ablate.report.stats.contrast import Arm, Contrast

MAX_DEVIATION = 8.0  # robust standard deviations below the median
MIN_VALUES = 6  # in all arms of a contrast, to estimate that deviation
NORMAL_SCALE = 1.4826  # standard deviation over median absolute deviation


def list_unstable_levels(contrast: Contrast) -> Iterator[str]:
    """Names the levels of a contrast with runs that fell, and how many: `unstable: block, 1 of 8`.

    A run fell if it lies more than `MAX_DEVIATION` robust standard deviations, over all arms of the
    contrast, below the median of its level and combination.
    """
    sides = {
        contrast.level: [pair.level for pair in contrast.pairs],
        contrast.against: [pair.against for pair in contrast.pairs],
    }
    deviations = {level: _list_deviations(arms) for level, arms in sides.items()}
    sizes = [abs(value) for values in deviations.values() for value in values if value]
    if len(sizes) < MIN_VALUES:
        return
    limit = MAX_DEVIATION * NORMAL_SCALE * median(sizes)
    for level, values in deviations.items():
        fallen = sum(value < -limit for value in values)
        if fallen:
            yield f"unstable: {level}, {fallen} of {len(values)} runs fell far below the others"


def _list_deviations(arms: Sequence[Arm]) -> list[float]:
    """Lists the deviations of all values from the median of their arm."""
    deviations: list[float] = []
    for arm in arms:
        values = [value for value in arm.values.values() if value is not None]
        deviations += [value - median(values) for value in values]
    return deviations
