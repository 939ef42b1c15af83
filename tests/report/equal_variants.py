"""Computes the verdicts of many simulated studies at once, as arrays: a fast `compute_verdicts`.

It computes p-values and words without failures or interim looks. The residuals of all levels are
pooled as in `ablate.report.stats.residuals`, or never, or always.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from ablate.report.results import Results, TrialResult
from ablate.report.stats import residuals

ALPHA = 0.05
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rule = Literal["own", "pooled", "guarded"]
GRID = np.exp(
    np.linspace(np.log(1e-3), np.log(1e4), 600)
)  # values of t at which laws are tabulated


@dataclass(frozen=True)
class Studies:
    """Scores of studies, (studies, maskers, patchifiers, seeds), and those at random init."""

    scores: Numbers
    random_init: Numbers  # (studies, patchifiers, seeds)

    def shift(self, masker: int | slice, points: float) -> "Studies":
        """Returns the studies with a true effect of some maskers."""
        scores = self.scores.copy()
        scores[:, masker] += points
        return replace(self, scores=scores)

    def keep_seeds(self, count: int) -> "Studies":
        """Returns the studies with their first seeds only."""
        return Studies(self.scores[..., :count], self.random_init[..., :count])

    def fill(self, results: Results, number: int) -> tuple[TrialResult, ...]:
        """Returns the trials of a study with the scores of the simulated study `number`."""
        maskers, patchifiers = (
            results.plan.factors.get(name, (None,)) for name in ("masker", "patchifier")
        )
        trials = []
        for trial in results.trials:
            row = maskers.index(trial.levels["masker"])
            column = patchifiers.index(trial.levels.get("patchifier"))
            score = float(self.scores[number, row, column, trial.seed])
            random_init = float(self.random_init[number, column, trial.seed])
            trials.append(replace(trial, score=score, random_init_score=random_init))
        return tuple(trials)


@dataclass(frozen=True)
class Words:
    """Words by contrast, (studies, contrasts): better or worse, equivalent, and which differ."""

    pooled: Flags
    differs: Flags
    within: Flags
    learned: Flags
    learned_equivalent: Flags
    pooled_equivalent: Flags
    within_equivalent: Flags

    @property
    def any_claim(self) -> Flags:
        """Whether a study calls any contrast better or worse, (studies,)."""
        return self.pooled.any(axis=1) | self.within.any(axis=1)

    @property
    def any_equivalent(self) -> Flags:
        """Whether a study calls any contrast equivalent, (studies,)."""
        return self.pooled_equivalent.any(axis=1) | self.within_equivalent.any(axis=1)


@dataclass(frozen=True)
class _Tests:
    """Corrected p-values of a family, (studies, contrasts)."""

    difference: Numbers
    equivalence: Numbers


def draw_studies(
    generator: np.random.Generator,
    studies: int,
    shape: tuple[int, int, int],
    *,
    luck: float,
    noise: Callable[[Numbers], Numbers] | None = None,
) -> Studies:
    """Draws correlated scores with equal means; `shape` is (maskers, patchifiers, seeds).

    Each seed has a random effect of the data order, each level of a factor one with standard
    deviation `luck`, and all maskers of a patchifier share one random init. `noise` makes the
    errors of the single runs from normal numbers; by default they stay normal.
    """
    maskers, patchifiers, seeds = shape
    normal = generator.normal
    errors = normal(size=(studies, *shape))
    scores = (
        40
        + normal(size=(studies, 1, 1, seeds))
        + luck * normal(size=(studies, maskers, 1, seeds))
        + luck * normal(size=(studies, 1, patchifiers, seeds))
        + (errors if noise is None else noise(errors))
    )
    return Studies(scores, 40 + luck * normal(size=(studies, patchifiers, seeds)))


def decide_studies(
    studies: Studies, *, rule: Rule = "guarded", margin: float = 0.0, alpha: float = ALPHA
) -> Words:
    """Decides every study: maskers by scores, patchifiers by gains."""
    scores, gains = studies.scores, studies.scores - studies.random_init[:, None]
    factors = [scores, gains.swapaxes(1, 2)]  # each (studies, levels, combinations, seeds)
    factors = [values for values in factors if values.shape[1] > 1]
    arms = [values[:, i] - values[:, 0] for values in factors for i in range(1, values.shape[1])]
    pooled = _test([values.mean(2, keepdims=True) for values in factors], rule, margin)
    depends = _holm_where_several(np.stack([_interaction(arm) for arm in arms], 1), arms)
    alone = _test(factors, rule, margin)
    has_gate = np.array([arm.shape[1] > 1 for arm in arms])
    counts = [arm.shape[1] for arm in arms]

    def gate(of_pooled: Numbers) -> Numbers:
        smallest = np.minimum(2 * np.minimum(of_pooled, depends), 1)
        return np.repeat(np.where(has_gate, smallest, 1), counts, axis=1)

    equal = np.maximum(alone.equivalence, gate(pooled.equivalence)) < alpha
    is_equal, differs = pooled.equivalence < alpha, depends < alpha
    return Words(
        pooled=(pooled.difference < alpha) & ~is_equal & ~differs,
        differs=differs,
        within=(np.maximum(alone.difference, gate(pooled.difference)) < alpha) & ~equal,
        learned=_holm(_p(gains[:, 0])) < alpha,
        learned_equivalent=_holm(_equivalence_p(gains[:, 0], margin)) < alpha,
        pooled_equivalent=is_equal & ~differs,
        within_equivalent=equal,
    )


def _test(factors: list[Numbers], rule: Rule, margin: float) -> _Tests:
    """Tests every level against the first of its factor, in every combination."""
    difference, equivalence = [], []
    for values in factors:
        for level in range(1, values.shape[1]):
            others = [i for i in range(1, values.shape[1]) if i != level]
            tables = values[:, [level, 0, *others]].swapaxes(1, 2)  # contrasted levels first
            means = (tables[..., 0, :] - tables[..., 1, :]).mean(-1)
            errors, law = _compute_errors(tables, rule)
            with np.errstate(divide="ignore", invalid="ignore"):
                t, above = np.abs(means) / errors, (np.abs(means) - margin) / errors
            has_spread = np.ptp(tables[..., 0, :] - tables[..., 1, :], axis=-1) > 1e-9
            difference.append(np.where(has_spread, law(t), 1))
            tail = law(np.abs(above)) / 2
            tail = np.where(above < 0, tail, 1 - tail)
            equivalence.append(np.where(has_spread, tail, 1))
    return _Tests(_holm(np.concatenate(difference, 1)), _holm(np.concatenate(equivalence, 1)))


def _compute_errors(tables: Numbers, rule: Rule) -> tuple[Numbers, Callable[[Numbers], Numbers]]:
    """Computes standard errors of the first level minus the second, and their laws."""
    levels, seeds = tables.shape[-2:]
    own = (tables[..., 0, :] - tables[..., 1, :]).std(-1, ddof=1) / np.sqrt(seeds)

    def student(t: Numbers) -> Numbers:
        tails: Numbers = 2 * special.stdtr(seeds - 1, -t)
        return tails

    if rule == "own" or levels < residuals.MIN_LEVELS or seeds < residuals.MIN_SEEDS:
        return own, student
    estimates = residuals.estimate_variances(tables)
    if rule == "pooled":
        freedom = (levels - 1) * (seeds - 1)
        return np.sqrt(2 * estimates.pooled / seeds), lambda t: 2 * special.stdtr(freedom, -t)
    law = residuals.NullLaw(seeds, levels)
    tabulated = np.log([law.compute_p(t) for t in GRID])
    unequal = np.zeros(own.shape, dtype=bool)
    if seeds >= residuals.MIN_SEEDS_OF_TEST:
        limit = residuals.simulate_residuals(levels, seeds).largest_level
        unequal = estimates.levels.max(-1) > limit * estimates.pooled

    def mixed(t: Numbers) -> Numbers:
        exact = np.exp(np.interp(np.log(np.maximum(t, GRID[0])), np.log(GRID), tabulated))
        return np.where(unequal, student(t), exact)

    return np.where(unequal, own, np.sqrt(2 * estimates.guarded / seeds)), mixed


def _p(differences: Numbers) -> Numbers:
    """Computes the p-value of a paired t-test over seeds, the last axis."""
    p: Numbers = stats.ttest_1samp(differences, 0, axis=-1).pvalue
    return p


def _equivalence_p(differences: Numbers, margin: float) -> Numbers:
    """Computes the p-value of two one-sided tests over seeds, the last axis."""
    above = stats.ttest_1samp(differences, margin, axis=-1, alternative="less").pvalue
    below = stats.ttest_1samp(differences, -margin, axis=-1, alternative="greater").pvalue
    p: Numbers = np.maximum(above, below)
    return p


def _interaction(arm: Numbers) -> Numbers:
    pairs = [*combinations(range(arm.shape[1]), 2)]
    if not pairs:
        return np.ones(len(arm))
    least: Numbers = np.min([_p(arm[:, one] - arm[:, other]) for one, other in pairs], axis=0)
    return np.minimum(len(pairs) * least, 1)


def _holm_where_several(ps: Numbers, arms: list[Numbers]) -> Numbers:
    """Corrects the interactions of contrasts that have several combinations."""
    several = [i for i, arm in enumerate(arms) if arm.shape[1] > 1]
    corrected = np.ones_like(ps)
    if several:
        corrected[:, several] = _holm(ps[:, several])
    return corrected


def _holm(ps: Numbers) -> Numbers:
    order = np.argsort(ps, axis=1)
    steps = np.take_along_axis(ps, order, 1) * np.arange(ps.shape[1], 0, -1)
    corrected = np.empty_like(ps)
    np.put_along_axis(corrected, order, np.maximum.accumulate(steps, axis=1), 1)
    return np.minimum(corrected, 1)
