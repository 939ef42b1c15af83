"""Simulates how often the intervals of the components of the spread over seeds hold the true ones.

`python -m tests.report.simulate_components` prints the table in docs/decisions.md.
"""

import argparse
import sys
from itertools import combinations

import numpy as np

from ablate.report.stats.seed_components import REST, estimate_components

SHARES = {  # true share of the variance of init, order, masks; the rest depends on them together
    "all in the rest": (0.0, 0.0, 0.0),
    "a tenth each": (0.1, 0.1, 0.1),
    "half from init": (0.5, 0.1, 0.0),
    "a third each": (1 / 3, 1 / 3, 1 / 3),
}


def draw_scores(
    rng: np.random.Generator, size: int, shares: tuple[float, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Draws scores of total variance 1; the rest is split evenly over pairs and the triple."""
    axes = range(len(shares))
    joint = [s for count in axes if count for s in combinations(axes, count + 1)]
    variances = {(axis,): share for axis, share in enumerate(shares)}
    variances |= dict.fromkeys(joint, max(1 - sum(shares), 0.0) / len(joint))
    scores = np.zeros([size] * len(shares))
    for subset, variance in variances.items():
        shape = [size if axis in subset else 1 for axis in axes]
        scores = scores + rng.normal(scale=variance**0.5, size=shape)
    return scores


def measure_coverage(
    size: int, shares: tuple[float, ...], studies: int
) -> tuple[dict[str, float], dict[str, float], float]:
    """Measures coverage of deviations and of shares by purpose, and the mean width of a share."""
    names = ("init", "order", "masks")[: len(shares)]
    truth = {**dict(zip(names, shares, strict=True)), REST: 1 - sum(shares)}
    rng = np.random.default_rng(1)
    held = np.zeros((2, len(truth)))
    width = 0.0
    for _ in range(studies):
        components = estimate_components(draw_scores(rng, size, shares), names)
        for i, (name, share) in enumerate(truth.items()):
            one, share = components[name], max(share, 0.0)
            held[0, i] += one.sd_low <= share**0.5 + 1e-9 <= one.sd_high + 2e-9
            held[1, i] += one.share_low <= share + 1e-9 <= one.share_high + 2e-9
            width += (one.share_high - one.share_low) / len(truth)
    deviations, of_shares = (dict(zip(truth, 100 * row / studies, strict=True)) for row in held)
    return deviations, of_shares, width / studies


def main() -> None:
    """Prints the coverage for several sizes and truths."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=500)
    studies = parser.parse_args().studies
    for count in (2, 3):
        for size in (3, 5, 8):
            for name, shares in SHARES.items():
                rows = measure_coverage(size, shares[:count], studies)
                text = [" ".join(f"{k} {v:.1f}" for k, v in row.items()) for row in rows[:2]]
                sys.stdout.write(
                    f"{count} purposes, {size} seeds, {name}: sd {text[0]}; share {text[1]};"
                    f" width {rows[2]:.2f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
