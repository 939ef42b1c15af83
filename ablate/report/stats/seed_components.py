"""Estimates how much of the spread over seeds comes from each purpose of a crossed study.

A random-effects analysis of variance: the score of a trial is the sum of a mean, of an effect of
each seed, and of an effect of each pair and triple of seeds. Intervals are generalised confidence
intervals (Weerahandi, "Generalized Confidence Intervals", Journal of the American Statistical
Association 1993, https://doi.org/10.1080/01621459.1993.10476355): each sum of squares over its
expectation has a chi-squared distribution, from which the expectations are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Axes = tuple[int, ...]
DRAWS = 10_000
REST = "rest"
QUANTILES = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True)
class Component:
    """The part of the spread over seeds that one purpose explains, or two or more together."""

    sd: float  # standard deviation in points; 0 if the estimate of the variance is negative
    sd_low: float  # 95 % interval
    sd_high: float
    share: float  # a part of the variance over new seeds of all varied purposes, 0 to 1
    share_low: float
    share_high: float


def estimate_components(scores: Numbers, purposes: Sequence[str]) -> dict[str, Component]:
    """Estimates the components of the variance of scores over crossed seeds.

    Args:
        scores: One axis per purpose, one score per combination of seeds, in points.
        purposes: The names of the axes.

    Returns:
        A component per purpose, and `rest`: what depends on two or more seeds together, with the
        noise of the probe.
    """
    axes = range(scores.ndim)
    subsets = [axis for size in axes for axis in combinations(axes, size + 1)]
    squares = {subset: _compute_square_sum(scores, subset) for subset in subsets}
    freedom = {s: int(np.prod([scores.shape[axis] - 1 for axis in s])) for s in subsets}
    rng = np.random.default_rng(0)
    draws = {s: squares[s] / rng.chisquare(freedom[s], DRAWS) for s in subsets}
    estimates = {s: np.array([squares[s] / freedom[s]]) for s in subsets}
    drawn, solved = (_solve_components(m, scores.shape, purposes) for m in (draws, estimates))
    totals = sum(float(value[0]) for value in solved.values()), np.sum([*drawn.values()], axis=0)
    components = {name: _summarize(float(solved[name][0]), drawn[name], *totals) for name in solved}
    # a purpose that may explain nothing leaves everything to the rest
    most = 1 - sum(components[purpose].share_low for purpose in purposes)
    rest = replace(components[REST], share_high=max(components[REST].share_high, most))
    return components | {REST: rest}


def _compute_square_sum(scores: Numbers, subset: Axes) -> float:
    """Computes the sum of squares of the effect of some axes together, without smaller ones."""
    effect = np.zeros_like(scores)
    for size in range(len(subset) + 1):
        for kept in combinations(subset, size):
            others = tuple(axis for axis in range(scores.ndim) if axis not in kept)
            sign = (-1) ** (len(subset) - size)
            effect = effect + sign * scores.mean(axis=others, keepdims=True)
    return float((effect**2).sum())


def _solve_components(
    mean_squares: Mapping[Axes, Numbers], shape: Sequence[int], purposes: Sequence[str]
) -> dict[str, Numbers]:
    """Computes the components from mean squares, whose expectations are sums of components."""
    solved: dict[Axes, Numbers] = {}
    for subset in mean_squares:
        others = [size for axis, size in enumerate(shape) if axis not in subset]
        signed = [
            (-1) ** (len(larger) - len(subset)) * square
            for larger, square in mean_squares.items()
            if {*subset} <= {*larger}
        ]
        solved[subset] = np.sum(signed, axis=0) / np.prod(others)
    rest = np.sum([value for subset, value in solved.items() if len(subset) > 1], axis=0)
    by_name = {name: solved[(axis,)] for axis, name in enumerate(purposes)} | {REST: rest}
    return {name: np.maximum(value, 0.0) for name, value in by_name.items()}


def _summarize(value: float, drawn: Numbers, total: float, drawn_total: Numbers) -> Component:
    low, high = np.quantile(drawn, QUANTILES)
    shares = np.divide(drawn, drawn_total, out=np.zeros_like(drawn), where=drawn_total > 0)
    share_low, share_high = np.quantile(shares, QUANTILES)
    return Component(
        sd=value**0.5,
        sd_low=float(low) ** 0.5,
        sd_high=float(high) ** 0.5,
        share=value / total if total else 0.0,
        share_low=float(share_low),
        share_high=float(share_high),
    )
