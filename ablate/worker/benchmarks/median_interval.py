"""Confidence intervals of medians that assume nothing about the distribution."""

from collections.abc import Sequence
from math import comb

CONFIDENCE = 0.95
MIN_VALUES = 6  # with fewer even the lowest and the highest value are not confident enough


def compute_median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns two of the values that enclose the true median with at least 95 % confidence.

    They are order statistics: the number of values below the median is binomial, with
    probability 0.5 (Conover, "Practical Nonparametric Statistics", 1999, sec. 3.2).

    Raises `ValueError` for fewer than six values.
    """
    count = len(values)
    if count < MIN_VALUES:
        raise ValueError(f"an interval needs at least {MIN_VALUES} values; got {count}")
    outside, below = 2 / 2**count, 0  # probability that the median lies outside; values left out
    while (more := outside + 2 * comb(count, below + 1) / 2**count) <= 1 - CONFIDENCE:
        outside, below = more, below + 1
    ordered = sorted(values)
    return ordered[below], ordered[-1 - below]
