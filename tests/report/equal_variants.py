"""Computes the verdicts of many simulated studies at once, as arrays: a fast `compute_verdicts`.

It computes p-values and words without failures, an equivalence margin or interim looks.
"""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ablate.report.results import Results, TrialResult

ALPHA = 0.05
Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Studies:
    """Scores of studies, (studies, maskers, patchifiers, seeds), and those at random init."""

    scores: Numbers
    random_init: Numbers  # (studies, patchifiers, seeds)

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
    """Which contrasts are called better or worse, and which differ: (studies, contrasts)."""

    pooled: Flags
    differs: Flags
    within: Flags
    learned: Flags


def draw_studies(
    generator: np.random.Generator, studies: int, shape: tuple[int, int, int], *, luck: float
) -> Studies:
    """Draws correlated scores with equal means; `shape` is (maskers, patchifiers, seeds).

    Each seed has a random effect of the data order, each level of a factor one with standard
    deviation `luck`, and all maskers of a patchifier share one random init.
    """
    maskers, patchifiers, seeds = shape
    normal = generator.normal
    scores = (
        40
        + normal(size=(studies, 1, 1, seeds))
        + luck * normal(size=(studies, maskers, 1, seeds))
        + luck * normal(size=(studies, 1, patchifiers, seeds))
        + normal(size=(studies, *shape))
    )
    return Studies(scores, 40 + luck * normal(size=(studies, patchifiers, seeds)))


def decide_studies(studies: Studies) -> Words:
    """Decides every study: maskers by scores, patchifiers by gains."""
    scores, gains = studies.scores, studies.scores - studies.random_init[:, None]
    arms = [scores[:, i] - scores[:, 0] for i in range(1, scores.shape[1])]
    arms += [gains[:, :, j] - gains[:, :, 0] for j in range(1, scores.shape[2])]
    pooled = _holm(np.stack([_p(arm.mean(1)) for arm in arms], 1))
    several = [arm.shape[1] > 1 for arm in arms]
    depends = _holm(np.stack([_interaction(arm) for arm in arms], 1))
    gate = np.where(several, np.minimum(2 * np.minimum(pooled, depends), 1), 1)
    alone = _holm(np.concatenate([_p(arm) for arm in arms], 1))
    gates = np.repeat(gate, [arm.shape[1] for arm in arms], axis=1)
    return Words(
        pooled=(pooled < ALPHA) & (depends >= ALPHA),
        differs=depends < ALPHA,
        within=np.maximum(alone, gates) < ALPHA,
        learned=_holm(_p(gains[:, 0])) < ALPHA,
    )


def _p(differences: Numbers) -> Numbers:
    """Computes the p-value of a paired t-test over seeds, the last axis."""
    p: Numbers = stats.ttest_1samp(differences, 0, axis=-1).pvalue
    return p


def _interaction(arm: Numbers) -> Numbers:
    pairs = [*combinations(range(arm.shape[1]), 2)]
    if not pairs:
        return np.ones(len(arm))
    least: Numbers = np.min([_p(arm[:, one] - arm[:, other]) for one, other in pairs], axis=0)
    return np.minimum(len(pairs) * least, 1)


def _holm(ps: Numbers) -> Numbers:
    order = np.argsort(ps, axis=1)
    steps = np.take_along_axis(ps, order, 1) * np.arange(ps.shape[1], 0, -1)
    corrected = np.empty_like(ps)
    np.put_along_axis(corrected, order, np.maximum.accumulate(steps, axis=1), 1)
    return np.minimum(corrected, 1)
