"""Over many fabricated studies the intervals cover, and the words are seldom false."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from ablate.reporting.results import Results
from ablate.reporting.statistics import paired, paired_power, t_interval
from ablate.reporting.verdicts import FAMILIES, verdicts

REPEATS = 4000


def test_t_intervals_cover_the_true_mean() -> None:
    draw = np.random.default_rng(1).normal(7.0, 2.0, (REPEATS, 3))
    intervals = [t_interval(row.tolist(), alpha=0.05) for row in draw]
    covered = [e.low < 7.0 < e.high for e in intervals if e.low is not None and e.high is not None]
    assert len(covered) == REPEATS
    assert 0.93 < np.mean(covered) < 0.97


def test_paired_intervals_cover_although_seeds_are_shared() -> None:
    draw = np.random.default_rng(2)
    shared = draw.normal(40, 5, (REPEATS, 1, 5))
    arms = shared + draw.normal(0, 1, (REPEATS, 2, 5)) + np.array([[1.5], [0.0]])
    intervals = [paired(one.tolist(), two.tolist(), alpha=0.05) for one, two in arms]
    covered = [(e.low or 0) < 1.5 < (e.high or 0) for e in intervals]
    assert 0.93 < np.mean(covered) < 0.97


def test_the_promised_power_is_the_share_of_studies_that_see_the_effect() -> None:
    draw = np.random.default_rng(4).normal(1.0, 1.0, (REPEATS, 4))
    seen = [(t_interval(study.tolist(), alpha=0.05).p or 0) < 0.05 for study in draw]
    promised = paired_power(1.0, 1.0, np.array([4]), alpha=0.05)
    assert np.mean(seen) == pytest.approx(promised.item(), abs=0.02)


def shared_null(study: Results, draw: np.random.Generator) -> Results:
    """Draws scores of arms that are equal on average but where little is independent.

    Each seed has its own luck with the data order, with each level of a factor in all its
    combinations, and with the one random init of a patchifier that all maskers share.
    """
    luck: dict[tuple[object, ...], float] = defaultdict(lambda: float(draw.normal()))
    trials = tuple(
        replace(
            trial,
            score=40
            + luck["order", trial.seed]
            + sum(0.5 * luck[*level, trial.seed] for level in trial.levels.items())
            + draw.normal(),
            twin_score=40 + luck["twin", trial.levels["patchifier"], trial.seed],
        )
        for trial in study.trials
    )
    return replace(study, trials=trials)


@pytest.mark.parametrize("null_study", [3, 5], indirect=True)
def test_a_null_study_seldom_makes_a_false_claim(null_study: Results) -> None:
    draw, repeats = np.random.default_rng(5), 500
    claims: Counter[str] = Counter()
    for _ in range(repeats):
        found = verdicts(shared_null(null_study, draw))
        claims.update({v.contrast.family for v in found if v.word in ("better", "worse")})
        pooled = [v for v in found if v.contrast.family == "pooled"]
        claims.update(v.contrast.factor for v in pooled if (v.estimate.p or 0) < 0.05)
    claims["masker"] //= 4  # it has four levels to be wrong about
    assert set(claims) == {*FAMILIES, "masker", "patchifier"}  # else this looks at nothing
    assert max(claims.values()) / repeats <= 0.06
