"""Simulates gains over the mean of several untrained encoders: `simulate_gains` prints the table.

`python -m tests.report.simulate_gains`. A baseline and two levels, as in a comparison of
patchifiers, in percent of 20,000 studies. Scores of trained and of untrained encoders vary
independently over seeds, the latter `SPREADS` times as much.
"""

import sys
from dataclasses import dataclass

import numpy as np

from tests.report.equal_variants import Studies, decide_studies

STUDIES = 20_000
LEVELS = 3  # with the baseline
SEEDS = (3, 5, 8)
COUNTS = (1, 2, 4, 8, 16)  # untrained encoders per seed
SPREADS = (0.5, 1.0, 2.0)  # standard deviation of an untrained score over that of a trained one
EFFECT = 2.0  # standard deviations of a paired difference of scores


@dataclass(frozen=True)
class GainRates:
    """How gains behave with some number of untrained encoders per seed."""

    variance: float  # paired difference of gains; 1: that with one untrained encoder
    false_words: float  # share of studies of equal levels with any better or worse
    power: float  # share of true differences found


def simulate_gains(
    num_inits: int, num_seeds: int, spread: float, *, studies: int = STUDIES
) -> GainRates:
    """Simulates studies whose gains subtract the mean of `num_inits` untrained encoders."""
    generator = np.random.default_rng([num_inits, num_seeds, int(10 * spread)])
    shape = (studies, LEVELS, num_seeds)
    scores = generator.normal(size=shape) + generator.normal(size=(studies, 1, num_seeds))
    untrained = spread * generator.normal(size=(num_inits, *shape))
    equal = Studies(scores[:, None], untrained.mean(0))
    shifted = scores.copy()
    shifted[:, 1:] += EFFECT * 2**0.5
    gains = scores - equal.random_init
    return GainRates(
        variance=float((gains[:, 1] - gains[:, 0]).var()) / (2 + 2 * spread**2),
        false_words=float(decide_studies(equal).any_claim.mean()),
        power=float(decide_studies(Studies(shifted[:, None], equal.random_init)).pooled.mean()),
    )


def main() -> None:
    """Prints one table per spread, in Markdown."""
    for spread in SPREADS:
        _print(f"Untrained scores vary {spread:g} times as much as trained ones")
        for count in COUNTS:
            rates = [simulate_gains(count, seeds, spread) for seeds in SEEDS]
            cells = [f"{100 * each.false_words:.1f} / {100 * each.power:.1f}" for each in rates]
            _print(f"| {count} | {rates[-1].variance:.2f} | {' | '.join(cells)} |")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
