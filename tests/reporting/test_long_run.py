"""Over many fabricated studies the intervals cover, and the words are seldom false."""

from dataclasses import replace

import numpy as np
import pytest

from ablate.reporting.results import Results
from ablate.reporting.statistics import paired, paired_power, pooled, t_interval
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


def test_pooled_intervals_cover_with_unequal_seeds_and_an_interaction() -> None:
    draw = np.random.default_rng(3)
    means, sizes = (2.0, -1.0, 5.0), (3, 2, 4)
    covered = []
    for _ in range(REPEATS):
        groups = [draw.normal(mean, 1, n).tolist() for mean, n in zip(means, sizes, strict=True)]
        estimate = pooled(groups, alpha=0.05)
        covered.append((estimate.low or 0) < 2.0 < (estimate.high or 0))
    assert 0.93 < np.mean(covered) < 0.97


def test_the_promised_power_is_the_share_of_studies_that_see_the_effect() -> None:
    draw = np.random.default_rng(4).normal(1.0, 1.0, (REPEATS, 2, 4))
    seen = [(pooled(study.tolist(), alpha=0.05).p or 0) < 0.05 for study in draw]
    promised = paired_power(1.0, 1.0, np.array([4]), groups=2, alpha=0.05)
    assert np.mean(seen) == pytest.approx(promised.item(), abs=0.02)


@pytest.fixture
def false_claims(null_study: Results) -> dict[str, float]:
    """The share of null studies with a *better* or *worse* in a family, by family."""
    draw = np.random.default_rng(5)
    counts = dict.fromkeys(FAMILIES, 0)
    repeats = 600
    for _ in range(repeats):
        shared = draw.normal(0, 1, len(null_study.plan["seeds"]))
        trials = tuple(
            replace(
                trial,
                score=40 + shared[trial.seed] + draw.normal(0, 1),
                twin_score=40 + shared[trial.seed] + draw.normal(0, 1),
            )
            for trial in null_study.trials
        )
        found = verdicts(replace(null_study, trials=trials))
        claimed = {v.contrast.family for v in found if v.word in ("better", "worse")}
        for family in claimed:
            counts[family] += 1
    return {family: count / repeats for family, count in counts.items()}


def test_a_null_study_seldom_makes_a_false_claim(false_claims: dict[str, float]) -> None:
    assert max(false_claims.values()) <= 0.06
    assert min(false_claims.values()) > 0  # else this test looks at nothing
