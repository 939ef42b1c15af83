"""Simulates error rates and power of verdicts, by rule: `python -m tests.report.simulate_verdicts`.

Prints the tables of `docs/decisions.md`, in percent of 20,000 studies each: a baseline and four
levels, alone or with a second factor of two levels. The twin that decides the studies is tested
against `compute_verdicts` in `test_long_run.py`, where the worst cells are simulated as well.
"""

import sys
from collections.abc import Callable, Mapping

import numpy as np

from tests.report.equal_variants import Numbers, Rule, Studies, decide_studies, draw_studies

STUDIES = 20_000
LEVELS = 5  # with the baseline
SEEDS = (3, 5, 8)
EFFECTS = (1.0, 1.5, 2.0, 3.0)  # standard deviations of a paired difference
RULES: tuple[Rule, ...] = ("own", "pooled", "guarded")
CLIPS = 150  # test clips of binomial scores
Noise = Callable[[np.random.Generator, Numbers], Numbers]


def _scale(level: int, factor: float) -> Noise:
    def scale(_: np.random.Generator, errors: Numbers) -> Numbers:
        scaled = errors.copy()
        scaled[:, level] *= factor
        return scaled

    return scale


def _draw_binomial(generator: np.random.Generator, errors: Numbers) -> Numbers:
    return 100 * generator.binomial(CLIPS, 0.4, errors.shape) / CLIPS


NOISE: Mapping[str, Noise] = {
    "normal": lambda _, errors: errors,
    "t, 3 degrees of freedom": lambda generator, errors: generator.standard_t(3, errors.shape),
    "lognormal": lambda _, errors: np.exp(errors),
    f"binomial, {CLIPS} clips": _draw_binomial,
    "one level x3": _scale(1, 3),
    "one level x10": _scale(1, 10),
    "baseline x1.5": _scale(0, 1.5),
    "baseline x3": _scale(0, 3),
    "baseline x10": _scale(0, 10),
    "spreads drawn": lambda generator, errors: (
        errors * np.sqrt(3 / generator.chisquare(3, (*errors.shape[:2], 1, 1)))
    ),
}


def simulate_errors(
    noise: str, num_seeds: int, *, combinations: int, luck: float, studies: int = STUDIES
) -> dict[Rule, float]:
    """Simulates the share of studies of equal variants with a better or worse, by rule."""
    generator = np.random.default_rng([num_seeds, combinations, *noise.encode()])
    equal = draw_studies(
        generator,
        studies,
        (LEVELS, combinations, num_seeds),
        luck=luck,
        noise=lambda errors: NOISE[noise](generator, errors),
    )
    return {rule: float(decide_studies(equal, rule=rule).any_claim.mean()) for rule in RULES}


def simulate_power(
    effect: float, num_seeds: int, *, studies: int = STUDIES, noisy: float = 1.0
) -> dict[Rule, float]:
    """Simulates the share of true differences that are found if all levels differ, by rule.

    With `noisy`, the first level is that many times as noisy, and is not counted.
    """
    generator = np.random.default_rng([num_seeds, int(10 * effect)])
    different = _shift(
        draw_studies(
            generator,
            studies,
            (LEVELS, 1, num_seeds),
            luck=0.0,
            noise=lambda errors: _scale(1, noisy)(generator, errors),
        ),
        effect * 2**0.5,
    )
    first = 0 if noisy == 1 else 1
    return {
        rule: float(decide_studies(different, rule=rule).pooled[:, first:].mean()) for rule in RULES
    }


def simulate_false_equivalence(
    num_seeds: int, *, combinations: int, margin: float = 3.0, studies: int = STUDIES
) -> dict[Rule, float]:
    """Simulates how often a difference as large as the margin is called equivalent, by rule."""
    generator = np.random.default_rng([num_seeds, combinations])
    shape = (LEVELS, combinations, num_seeds)
    apart = _shift(draw_studies(generator, studies, shape, luck=0.0), margin)
    return {
        rule: float(decide_studies(apart, rule=rule, margin=margin).any_equivalent.mean())
        for rule in RULES
    }


def _shift(studies: Studies, size: float) -> Studies:
    """Adds `size` points to every level but the baseline, of either factor."""
    scores = studies.scores.copy()
    scores[:, 1:] += size
    scores[:, :, 1:] += size
    return Studies(scores, studies.random_init)


def _print_row(label: str, cells: list[dict[Rule, float]]) -> None:
    texts = [" / ".join(f"{100 * cell[rule]:.1f}" for rule in RULES) for cell in cells]
    _print(f"| {label} | {' | '.join(texts)} |")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Prints every table, in Markdown."""
    _print(f"Each cell: {' / '.join(RULES)}. Columns: {', '.join(map(str, SEEDS))} seeds.\n")
    for combinations, luck in ((1, 0.0), (2, 0.0), (2, 0.5)):
        _print(f"False claims, {combinations} combinations, shared luck {luck:g}")
        for noise in NOISE:
            cells = [simulate_errors(noise, n, combinations=combinations, luck=luck) for n in SEEDS]
            _print_row(noise, cells)
    _print("Power, every level differs")
    for effect in EFFECTS:
        _print_row(f"{effect:g} SD", [simulate_power(effect, n) for n in SEEDS])
    _print("Power, 2 SD, other levels if one level is noisy")
    for noisy in (3.0, 10.0):
        _print_row(f"x{noisy:g}", [simulate_power(2.0, n, noisy=noisy) for n in SEEDS])
    _print("False equivalence, all at the margin")
    for combinations in (1, 2):
        cells = [simulate_false_equivalence(n, combinations=combinations) for n in SEEDS]
        _print_row(f"{combinations} combinations", cells)


if __name__ == "__main__":
    main()
