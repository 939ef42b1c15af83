"""Contrasts pair comparable trials, and misleading verdicts are withheld."""

import shutil
from collections import Counter
from dataclasses import replace
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from ablate.core.records.plan import RecordedLooks
from ablate.report.results import read_results
from ablate.report.stats.cells import changes_random_init
from ablate.report.stats.contrasts import list_contrasts
from ablate.report.stats.power import compute_power, estimate_study_seeds
from ablate.report.stats.residuals import NullLaw, estimate_variances
from ablate.report.stats.statistics import compute_interaction_p, correct_by_holm, estimate_mean
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.chosen_scores import FLAT, get_verdict, with_scores
from tests.report.conftest import STATISTICS_POOLINGS, StudyBuilder, paired


def test_each_level_is_compared_with_the_baseline_level_of_its_factor(
    builder: StudyBuilder,
) -> None:
    verdicts = [c for c in list_contrasts(builder.results()) if c.family != "untrained"]
    described = [(c.family, c.factor, c.level, c.against, dict(c.fixed_levels)) for c in verdicts]
    strips, squares = {"patchifier": "strips"}, {"patchifier": "squares"}
    assert described == [
        ("pooled", "masker", "block", "random", {}),
        ("pooled", "masker", "curriculum", "random", {}),
        ("pooled", "patchifier", "strips", "squares", {}),
        ("within", "masker", "block", "random", squares),
        ("within", "masker", "block", "random", strips),
        ("within", "masker", "curriculum", "random", squares),
        ("within", "masker", "curriculum", "random", strips),
        ("within", "patchifier", "strips", "squares", {"masker": "random"}),
        ("within", "patchifier", "strips", "squares", {"masker": "block"}),
        ("within", "patchifier", "strips", "squares", {"masker": "curriculum"}),
        ("learning", "", "trained", "random init", squares),
        ("learning", "", "trained", "random init", strips),
    ]


def test_a_factor_that_changes_the_random_init_is_judged_by_the_gain(builder: StudyBuilder) -> None:
    results = builder.results()
    assert changes_random_init(results, "patchifier")
    assert not changes_random_init(results, "masker")
    measures = {c.factor: c.measure for c in list_contrasts(results) if c.family == "pooled"}
    assert measures == {"masker": "score", "patchifier": "gain"}


def test_the_gain_subtracts_the_score_at_random_init(builder: StudyBuilder) -> None:
    results = with_scores(builder.results(), FLAT)
    trials = tuple(
        replace(trial, random_init_score=33.0 if trial.levels["patchifier"] == "strips" else 30.0)
        for trial in results.trials
    )
    verdicts = compute_verdicts(replace(results, trials=trials))
    strips = get_verdict(verdicts, "within", "strips", "random")
    scores = paired(FLAT["random", "strips"], FLAT["random", "squares"])
    assert strips.estimate.mean == pytest.approx((scores.mean or 0) - 3.0)


def test_a_contrast_is_paired_by_seed(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(with_scores(builder.results(), FLAT))
    block = get_verdict(verdicts, "within", "block", "strips")
    expected = paired(FLAT["block", "strips"], FLAT["random", "strips"])
    assert (block.estimate.n, block.estimate.mean, block.estimate.sd) == (
        expected.n,
        expected.mean,
        expected.sd,
    )
    assert block.seed_correlation == pytest.approx(0.99, abs=0.01)


def test_the_standard_error_of_a_pooled_estimate_is_over_seeds(builder: StudyBuilder) -> None:
    maskers = ("random", "block", "curriculum")
    rows = [
        (strips - squares, masker, f"seed {seed}")
        for masker in maskers
        for seed, (strips, squares) in enumerate(
            zip(FLAT[masker, "strips"], FLAT[masker, "squares"], strict=True)
        )
    ]
    frame = pd.DataFrame(rows, columns=["value", "masker", "seed"])
    anova = sm.stats.anova_lm(smf.ols("value ~ masker + seed", frame).fit())
    mean, error = frame["value"].mean(), (anova["mean_sq"]["seed"] / len(frame)) ** 0.5
    strips = get_verdict(
        compute_verdicts(with_scores(builder.results(), FLAT)), "pooled", "strips"
    ).estimate  # two levels: no residuals of others
    assert strips.n == 3
    assert (strips.mean, strips.standard_error) == pytest.approx((mean, error))
    assert strips.p == pytest.approx(2 * stats.t.sf(abs(mean / error), df=2))


def test_the_residuals_of_all_levels_give_the_standard_error(builder: StudyBuilder) -> None:
    block = get_verdict(compute_verdicts(with_scores(builder.results(), FLAT)), "pooled", "block")
    table = np.array(
        [
            np.mean([FLAT[masker, patchifier] for patchifier in ("squares", "strips")], axis=0)
            for masker in ("block", "random", "curriculum")
        ]
    )
    guarded = float(estimate_variances(table).guarded)
    assert block.estimate.standard_error == pytest.approx((2 * guarded / 3) ** 0.5)
    assert block.estimate.law == NullLaw(3, 3)


def test_a_level_without_some_score_does_not_join_the_residuals(builder: StudyBuilder) -> None:
    results = with_scores(builder.results(), FLAT)
    trials = tuple(
        replace(trial, score=None)
        if (trial.levels["masker"], trial.seed) == ("curriculum", 0)
        else trial
        for trial in results.trials
    )
    block = get_verdict(compute_verdicts(replace(results, trials=trials)), "pooled", "block")
    assert block.estimate.law == NullLaw(3)


def test_families_are_corrected_separately(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(with_scores(builder.results(), FLAT))
    for family in ("pooled", "learning", "untrained"):
        members = [verdict for verdict in verdicts if verdict.contrast.family == family]
        assert [v.p for v in members] == correct_by_holm([v.estimate.p for v in members])
        several = [v for v in members if len(v.contrast.pairs) > 1]
        depends = [
            compute_interaction_p([*v.contrast.differences_by_seed.values()]) for v in several
        ]
        assert [v.p_interaction for v in several] == correct_by_holm(depends)


def test_a_contrast_of_one_combination_is_not_in_the_family_of_interactions(
    builder: StudyBuilder,
) -> None:
    complete = compute_verdicts(with_scores(builder.results(), FLAT))
    holed = builder.results()
    kept = tuple(t for t in holed.trials if [*t.levels.values()] != ["curriculum", "strips"])
    verdicts = compute_verdicts(with_scores(replace(holed, trials=kept), FLAT))
    single, alone = (
        get_verdict(verdicts, "pooled", "curriculum"),
        get_verdict(verdicts, "pooled", "block"),
    )
    assert single.p_interaction is None
    several = [v for v in verdicts if v.contrast.family == "pooled" and len(v.contrast.pairs) > 1]
    raw = compute_interaction_p([*alone.contrast.differences_by_seed.values()])
    assert raw is not None
    assert alone.p_interaction is not None
    assert alone.p_interaction <= len(several) * raw < len(complete) * raw


def test_p_within_a_combination_is_at_least_the_bonferroni_p_of_any_difference(
    builder: StudyBuilder,
) -> None:
    verdicts = compute_verdicts(with_scores(builder.results(), FLAT))
    for verdict in verdicts:
        if verdict.contrast.family == "within":
            pooled = get_verdict(verdicts, "pooled", verdict.contrast.level)
            surer = min(p for p in (pooled.p, pooled.p_interaction) if p is not None)
            assert (verdict.p or 0) >= min(2 * surer, 1)


def test_a_difference_in_one_combination_only_is_withheld(builder: StudyBuilder) -> None:
    lucky = [*map(sum, zip(FLAT["random", "strips"], [9.0, 9.01, 9.02], strict=True))]
    wild = [*map(sum, zip(FLAT["random", "squares"], [-40.0, 12.0, 30.0], strict=True))]
    scores = FLAT | {("block", "strips"): lucky, ("block", "squares"): wild}
    strips = get_verdict(
        compute_verdicts(with_scores(builder.results(), scores)), "within", "block", "strips"
    )
    assert strips.word == "undecided"
    assert strips.num_further_seeds is None  # more seeds here are not what is lacking
    assert any(
        note.startswith("no verdict here: the pooled contrast and its interaction together")
        for note in strips.notes
    )


def test_a_clear_loss_is_worse_and_a_small_difference_is_equivalent(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(with_scores(builder.results(), FLAT))
    assert get_verdict(verdicts, "pooled", "block").word == "worse"
    assert get_verdict(verdicts, "pooled", "curriculum").word == "equivalent"


def test_a_clear_gain_over_random_init_is_learning(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(with_scores(builder.results(), FLAT))
    assert get_verdict(verdicts, "learning", "trained", "strips").word == "better"


def test_an_interaction_replaces_the_pooled_verdict(builder: StudyBuilder) -> None:
    reversed_on_strips = FLAT | {("block", "strips"): [48.1, 49.4, 50.3]}
    block = get_verdict(
        compute_verdicts(with_scores(builder.results(), reversed_on_strips)), "pooled", "block"
    )
    assert block.p_interaction is not None
    assert block.p_interaction < 0.05
    assert block.word == "differs by patchifier"
    assert block.num_further_seeds is None


def test_only_seeds_that_both_arms_have_are_paired(builder: StudyBuilder) -> None:
    plan = builder.build()
    shutil.rmtree(builder.runs / builder.fingerprint(0, masker="block", patchifier="strips"))
    shutil.rmtree(builder.runs / builder.fingerprint(1, masker="random", patchifier="strips"))
    block = get_verdict(
        compute_verdicts(read_results(plan, builder.runs)), "within", "block", "strips"
    )
    assert (block.estimate.n, block.contrast.num_planned_seeds) == (1, 3)
    assert block.word == "undecided"
    assert any(note.startswith("n < 2") for note in block.notes)


def test_a_combination_without_any_pair_is_named(builder: StudyBuilder) -> None:
    plan = builder.build()
    for seed in builder.seeds:
        shutil.rmtree(builder.runs / builder.fingerprint(seed, masker="block", patchifier="strips"))
    verdicts = compute_verdicts(read_results(plan, builder.runs))
    assert "no pair in 1 of 2 combinations" in get_verdict(verdicts, "pooled", "block").notes
    assert get_verdict(verdicts, "within", "block", "strips").estimate.n == 0


def test_each_variant_is_compared_with_the_strongest_of_its_baselines_without_training(
    builder: StudyBuilder,
) -> None:
    builder.noise = 0.1
    builder.random_score = lambda levels: 30.0 if levels["patchifier"] == "strips" else 20.0
    results = builder.results()
    verdicts = [v for v in compute_verdicts(results) if v.contrast.family == "untrained"]
    compared = {v.contrast.level: v.contrast.against for v in verdicts}
    assert len(compared) == len(verdicts) == 6
    for trials in results.variants().values():
        level = ", ".join(trials[0].levels.values())
        means = {
            name: fmean(trial.untrained_scores[name] for trial in trials)
            for name in trials[0].untrained_scores
        }
        assert {*means} == {"random init", *(f"log-mel {p}" for p in STATISTICS_POOLINGS)}
        assert compared[level] == max(means, key=lambda name: means[name])
        assert (compared[level] == "random init") == ("strips" in level)
        [verdict] = [v for v in verdicts if v.contrast.level == level]
        expected = fmean(t.score - t.untrained_scores[compared[level]] for t in trials)
        assert verdict.estimate.mean == pytest.approx(expected)


def test_one_factor_has_no_contrasts_within_a_combination(builder: StudyBuilder) -> None:
    builder.factors = {"masker": ["random", "block"]}
    families = [c.family for c in list_contrasts(builder.results())]
    assert families == ["pooled", "learning", "untrained", "untrained"]


def test_a_study_without_factors_has_a_learning_contrast(builder: StudyBuilder) -> None:
    builder.factors = {}
    verdicts = compute_verdicts(builder.results())
    assert [verdict.contrast.family for verdict in verdicts] == ["learning", "untrained"]
    assert verdicts[0].word == "better"


def test_contrasts_of_three_factors_are_pooled_over_two(builder: StudyBuilder) -> None:
    builder.factors = {"masker": ["a", "b"], "patchifier": ["c", "d"], "encoder": ["e", "f"]}
    builder.random_init_factors = ("patchifier", "encoder")
    verdicts = list_contrasts(builder.results())
    pooled = [contrast for contrast in verdicts if contrast.family == "pooled"]
    assert [len(contrast.pairs) for contrast in pooled] == [4, 4, 4]
    assert pooled[0].pooled_factors == ("patchifier", "encoder")
    assert len([contrast for contrast in verdicts if contrast.family == "learning"]) == 4


def test_a_design_of_one_factor_at_a_time_has_contrasts_of_its_trials(
    builder: StudyBuilder,
) -> None:
    plan = builder.build()
    baseline = plan.baseline
    trials = tuple(
        trial
        for trial in plan.trials
        if sum(trial.levels[name] != level for name, level in baseline.items()) < 2
    )
    plan = replace(plan, trials=trials)
    verdicts = list_contrasts(read_results(plan, builder.runs))
    assert [(c.family, c.level) for c in verdicts if c.family != "untrained"] == [
        ("pooled", "block"),
        ("pooled", "curriculum"),
        ("pooled", "strips"),
        ("learning", "trained"),
        ("learning", "trained"),
    ]
    assert dict(verdicts[0].fixed_levels) == {"patchifier": "squares"}


def test_a_larger_family_needs_more_seeds_in_a_new_study() -> None:
    estimate = estimate_mean([0.5, 3.1, 1.4], alpha=0.05)
    few, many = (
        estimate_study_seeds(estimate, margin=0.0, alpha=0.05, family=family) for family in (1, 6)
    )
    assert few is not None
    assert many is not None
    assert few.low <= few.typical < many.typical <= many.high


def test_seeds_of_a_new_study_are_named_only_where_no_seeds_are_declared(
    builder: StudyBuilder,
) -> None:
    builder.noise, builder.margin = 3.0, 4.0
    plan = builder.build()
    fixed = get_verdict(compute_verdicts(read_results(plan, builder.runs)), "pooled", "block")
    looks = RecordedLooks(seed_counts=(3,), max_seeds=8)
    growing = get_verdict(
        compute_verdicts(read_results(replace(plan, looks=looks), builder.runs)), "pooled", "block"
    )
    assert fixed.word == growing.word == "undecided"
    assert fixed.num_further_seeds is None
    assert fixed.study_seeds is not None
    assert growing.num_further_seeds is not None
    assert growing.study_seeds is None


def test_a_combination_that_excludes_the_baseline_level_is_left_out(builder: StudyBuilder) -> None:
    plan = builder.build()
    excluded = {"masker": "random", "patchifier": "strips"}
    trials = tuple(trial for trial in plan.trials if trial.levels != excluded)
    plan = replace(plan, trials=trials)
    block = list_contrasts(read_results(plan, builder.runs))[0]
    assert (block.level, len(block.pairs), dict(block.fixed_levels)) == (
        "block",
        1,
        {"patchifier": "squares"},
    )


def test_a_detectable_difference_has_a_power_of_80_percent(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(builder.results())
    families = Counter(verdict.contrast.family for verdict in verdicts)
    for verdict in verdicts:
        estimate, family = verdict.estimate, families[verdict.contrast.family]
        assert estimate.spread is not None
        assert estimate.law is not None
        assert verdict.detectable is not None
        power = compute_power(
            verdict.detectable,
            estimate.spread,
            3,
            alpha=0.05,
            family=family,
            levels=estimate.law.num_levels,
        )
        if verdict.contrast.family == "within":
            assert power > 0.8 - 1e-6  # the gate may need a larger difference
        else:
            assert power == pytest.approx(0.8)


def test_one_seed_detects_nothing(builder: StudyBuilder) -> None:
    builder.seeds = (0,)
    assert {verdict.detectable for verdict in compute_verdicts(builder.results())} == {None}
