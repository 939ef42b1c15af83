"""Over many simulated studies, intervals cover the truth and verdicts are rarely false."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ablate.core.records.plan import RecordedLooks
from ablate.report.results import Results
from ablate.report.stats.decision_rules import compute_look_alpha
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.power import compute_power
from ablate.report.stats.statistics import estimate_mean
from ablate.report.stats.verdicts import compute_verdicts
from tests.report import equal_variants
from tests.report.conftest import StudyBuilder
from tests.report.simulate_verdicts import (
    simulate_errors,
    simulate_false_equivalence,
    simulate_power,
)

LEVELS = [f"level {number}" for number in range(12)]
CLAIMS = ("better", "worse")
STUDIES = 40_000  # simulated with the vectorised verdicts
REPEATS = 10_000
CHANCE = 3 * (0.05 * 0.95 / REPEATS) ** 0.5
MARGIN = 2.0


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_intervals_cover_the_true_mean(n: int) -> None:
    draw = np.random.default_rng(1).normal(7.0, 2.0, (4000, n))
    intervals = [estimate_mean(row.tolist(), alpha=0.05) for row in draw]
    covered = [(e.low or 0) < 7.0 < (e.high or 0) for e in intervals]
    assert 0.93 < np.mean(covered) < 0.97


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_of_differences_cover_although_seeds_are_shared(n: int) -> None:
    draw = np.random.default_rng(2)
    shared = draw.normal(40, 5, (4000, 1, n))
    arms = shared + draw.normal(0, 1, (4000, 2, n)) + np.array([[1.5], [0.0]])
    intervals = [estimate_mean((one - two).tolist(), alpha=0.05) for one, two in arms]
    covered = [(e.low or 0) < 1.5 < (e.high or 0) for e in intervals]
    assert 0.93 < np.mean(covered) < 0.97


def one_factor(builder: StudyBuilder, *, seeds: int, levels: int = 12) -> Results:
    """A study of one factor; tests draw the scores."""
    builder.factors, builder.random_init_factors = {"masker": LEVELS[:levels]}, ()
    builder.seeds, builder.margin = tuple(range(seeds)), 0.0
    return builder.results()


def equal(builder: StudyBuilder, *, maskers: int, patchifiers: int, seeds: int) -> Results:
    """A study of a grid or of one factor; tests draw the scores."""
    builder.factors = {"masker": LEVELS[:maskers]}
    if patchifiers > 1:
        builder.factors["patchifier"] = ["squares", "strips", "tall"][:patchifiers]
    builder.seeds, builder.margin = tuple(range(seeds)), 0.0
    return builder.results()


@pytest.mark.parametrize("shape", [(12, 1, 3), (4, 3, 3), (2, 2, 8)])
def test_the_vectorised_verdicts_agree_with_compute_verdicts(
    builder: StudyBuilder, shape: tuple[int, int, int]
) -> None:
    maskers, patchifiers, seeds = shape
    study = equal(builder, maskers=maskers, patchifiers=patchifiers, seeds=seeds)
    study = replace(
        study,
        plan=replace(study.plan, report=replace(study.plan.report, equivalence_margin=MARGIN)),
    )
    many = equal_variants.draw_studies(np.random.default_rng(4), 1000, shape, luck=0.5)
    many = many.shift(1, 3.0)
    fast = equal_variants.decide_studies(many, margin=MARGIN)
    flags = np.concatenate([fast.pooled, fast.differs, fast.within, fast.pooled_equivalent], axis=1)
    # studies with and without a claim
    checked = {*np.flatnonzero(flags.any(axis=1))[:20], *np.flatnonzero(~flags.any(axis=1))[:10]}
    for number in checked:
        verdicts = compute_verdicts(replace(study, trials=many.fill(study, number)))
        pooled = [v.word for v in verdicts if v.contrast.family == "pooled"]
        within = [v.word for v in verdicts if v.contrast.family == "within"]
        learned = [v.word for v in verdicts if v.contrast.family == "learning"]
        assert [word in CLAIMS for word in pooled] == [*fast.pooled[number]]
        assert [word == "equivalent" for word in pooled] == [*fast.pooled_equivalent[number]]
        assert [word.startswith("differs") for word in pooled] == [*fast.differs[number]]
        if within:
            assert [word in CLAIMS for word in within] == [*fast.within[number]]
            assert [word == "equivalent" for word in within] == [*fast.within_equivalent[number]]
        assert [word in (*CLAIMS, "equivalent") for word in learned] == [
            *(fast.learned[number] | fast.learned_equivalent[number])
        ]


@pytest.mark.parametrize("luck", [0.0, 0.5])
@pytest.mark.parametrize("shape", [(12, 1, 3), (4, 3, 3), (4, 3, 8), (2, 2, 8), (2, 2, 30)])
def test_equal_variants_cause_no_more_false_claims_than_documented(
    shape: tuple[int, int, int], luck: float
) -> None:
    many = equal_variants.draw_studies(np.random.default_rng(5), STUDIES, shape, luck=luck)
    words = equal_variants.decide_studies(many)
    pooled, differs, within, learned = (
        flags.any(axis=1) for flags in (words.pooled, words.differs, words.within, words.learned)
    )
    chance = 3 * (0.05 * 0.95 / STUDIES) ** 0.5
    assert 0.001 < pooled.mean() < 0.05 + chance  # a lower rate would show that the test is void
    assert max(differs.mean(), within.mean(), learned.mean()) < 0.05 + chance
    assert (pooled | within).mean() < 0.057 + chance  # as documented in verdicts.py


@pytest.mark.parametrize(
    ("noise", "seeds"),
    [("baseline x3", 3), ("one level x10", 5), ("baseline x1.5", 5), ("one level x3", 8)],
)
def test_unequal_spreads_cause_no_more_false_claims_than_alpha(noise: str, seeds: int) -> None:
    studies = 10_000
    errors = simulate_errors(noise, seeds, combinations=1, luck=0.0, studies=studies)
    assert errors["guarded"] < 0.05 + 3 * (0.05 * 0.95 / studies) ** 0.5
    assert errors["pooled"] > 0.06  # what the guard is for


@pytest.mark.parametrize("seeds", [3, 8])
def test_differences_at_the_margin_are_called_equivalent_in_at_most_the_documented_share(
    seeds: int,
) -> None:
    false = simulate_false_equivalence(seeds, combinations=2, studies=10_000)
    chance = 3 * (0.05 * 0.95 / 10_000) ** 0.5
    assert false["guarded"] < 0.057 + chance
    assert false["own"] < 0.057 + chance


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_residuals_of_all_levels_raise_the_power(seeds: int) -> None:
    powers = simulate_power({3: 3.0, 5: 1.5, 8: 1.0}[seeds], seeds, studies=4000)
    assert powers["guarded"] > powers["own"] + {3: 0.25, 5: 0.1, 8: 0.03}[seeds]


def test_a_noisy_level_costs_the_other_levels_no_power() -> None:
    powers = simulate_power(2.0, 5, studies=4000, noisy=10.0)
    assert powers["guarded"] > powers["own"] - 0.02
    assert powers["pooled"] < 0.1


def draw_one_factor(seeds: int, *, levels: int = len(LEVELS)) -> equal_variants.Studies:
    """Draws studies of one factor, correlated by seed."""
    shape = (levels, 1, seeds)
    return equal_variants.draw_studies(np.random.default_rng(6), REPEATS, shape, luck=0.5)


def test_a_real_effect_causes_no_more_false_claims_about_other_contrasts() -> None:
    words = equal_variants.decide_studies(draw_one_factor(3).shift(1, 60.0))
    assert words.pooled[:, 0].mean() > 0.99
    assert 0.001 < words.pooled[:, 1:].any(axis=1).mean() < 0.05 + CHANCE


def looked(study: Results, counts: Sequence[int]) -> Results:
    """Returns the results at the last of these looks, with at most eight seeds."""
    trials = tuple(trial for trial in study.trials if trial.seed < counts[-1])
    looks = RecordedLooks(seed_counts=tuple(counts), max_seeds=8)
    plan = replace(study.plan, looks=looks)
    return replace(study, plan=plan, trials=trials)


def looks_as_advised(study: Results) -> Iterator[tuple[Verdict, ...]]:
    """Yields verdicts with three seeds, then adds the smallest advised number up to three times."""
    counts = [3]
    for _ in range(4):
        words = compute_verdicts(looked(study, counts))
        yield words
        checked = [v.num_further_seeds for v in words if v.num_further_seeds]
        if not checked or counts[-1] == 8:
            return
        counts.append(min(counts[-1] + min(checked), 8))


def test_looks_cause_no_more_false_claims() -> None:
    many, claimed = draw_one_factor(8, levels=5), np.zeros(REPEATS, dtype=bool)
    for counts in ((3,), (3, 5), (3, 5, 8)):
        alpha = compute_look_alpha(counts, 8, alpha=0.05)
        words = equal_variants.decide_studies(many.keep_seeds(counts[-1]), alpha=alpha)
        claimed |= words.any_claim
    assert 0.005 < claimed.mean() < 0.05 + CHANCE


def test_the_vectorised_looks_agree_with_compute_verdicts(builder: StudyBuilder) -> None:
    study, many = one_factor(builder, seeds=8, levels=5), draw_one_factor(8, levels=5).shift(1, 2.0)
    for number in range(3):
        drawn, decided = replace(study, trials=many.fill(study, number)), set[str]()
        counts = []
        for verdicts in looks_as_advised(drawn):
            counts.append(max(len(v.contrast.differences) for v in verdicts))
            alpha = compute_look_alpha(tuple(counts), 8, alpha=0.05)
            words = equal_variants.decide_studies(many.keep_seeds(counts[-1]), alpha=alpha)
            decided |= {LEVELS[level + 1] for level in np.flatnonzero(words.pooled[number])}
            own = [v for v in verdicts if v.contrast.family == "pooled"]
            assert {v.contrast.level for v in own if v.word in CLAIMS} == decided


@pytest.mark.parametrize("size", [-MARGIN, MARGIN])
def test_levels_that_differ_by_the_margin_are_rarely_called_equivalent(size: float) -> None:
    many = draw_one_factor(5).shift(slice(1, None), size)
    words = equal_variants.decide_studies(many, margin=MARGIN)
    assert words.pooled_equivalent.any(axis=1).mean() < 0.05 + CHANCE


@pytest.mark.parametrize(("seeds", "effect"), [(3, 7.0), (5, 3.0)])
def test_the_power_is_the_share_of_studies_that_detect_the_effect(
    seeds: int, effect: float
) -> None:
    words = equal_variants.decide_studies(draw_one_factor(seeds).shift(1, effect))
    spread = np.sqrt(2 * (1 + 0.5**2))  # SD of a difference: the effect of the data order cancels
    promised = compute_power(
        effect, spread, seeds, alpha=0.05, family=len(LEVELS) - 1, levels=len(LEVELS)
    )
    assert 0.2 < promised < 0.95
    assert words.pooled[:, 0].mean() == pytest.approx(promised, abs=0.03)
