"""Gains subtract the mean score of several untrained encoders, if all of them have been scored."""

import shutil
from pathlib import Path
from statistics import fmean

import pytest

from ablate.core.records.findings import FINDINGS_FILE
from ablate.core.records.plan import StudyPlan
from ablate.report.report import write_report
from ablate.report.results import read_results
from ablate.report.stats.contrasts import list_contrasts
from ablate.runs import store
from tests.report.conftest import KNN, StudyBuilder
from tests.report.simulate_gains import simulate_gains

NUM_INITS = 3


@pytest.fixture
def builder(tmp_path: Path) -> StudyBuilder:
    builder = StudyBuilder(tmp_path, num_random_inits=NUM_INITS)
    builder.factors = {"patchifier": ["squares", "strips"]}
    return builder


def read_score(builder: StudyBuilder, fingerprint: str) -> float:
    score = store.read_score(builder.runs / fingerprint, KNN, "concat_freq")
    assert score is not None
    return score


def test_a_gain_subtracts_the_mean_of_the_untrained_encoders_of_its_seed(
    builder: StudyBuilder,
) -> None:
    results = builder.results()
    used: list[str] = []
    for trial in results.trials:
        inits = (trial.plan.random_init, *trial.plan.further_inits)
        untrained = fmean(read_score(builder, init) for init in inits)
        assert trial.gain == pytest.approx(read_score(builder, trial.fingerprint) - untrained)
        used += inits
    assert len(set(used)) == len(used) == NUM_INITS * len(results.trials)
    frame = results.scores()
    gains = frame[(frame["probe"] == "knn") & (frame["pooling"] == "concat_freq")]
    means = gains.groupby(["patchifier", "seed", "kind"])["test"].mean().unstack()
    expected = {(t.levels["patchifier"], t.seed): t.gain for t in results.trials}
    assert (means["jepa"] - means["random_init"]).to_dict() == pytest.approx(expected)


def test_contrasts_of_gains_and_of_learning_use_the_mean(builder: StudyBuilder) -> None:
    results = builder.results()
    by_key = {(t.levels["patchifier"], t.seed): t for t in results.trials}
    pooled, *learning = [
        contrast
        for contrast in list_contrasts(results)
        if contrast.family in ("pooled", "learning")
    ]
    for seed, difference in pooled.differences.items():
        gains = [by_key[level, seed].gain or 0.0 for level in ("strips", "squares")]
        assert difference == pytest.approx(gains[0] - gains[1])
    for contrast in learning:
        [(_, level)] = contrast.fixed_levels
        expected = {seed: by_key[level, seed].gain for seed in contrast.differences}
        assert contrast.differences == pytest.approx(expected)


def write(builder: StudyBuilder, plan: StudyPlan) -> str:
    write_report(plan, builder.runs, builder.report)
    return (builder.report / "report.md").read_text()


def test_if_one_has_no_score_every_gain_subtracts_that_of_its_own_seed(
    builder: StudyBuilder,
) -> None:
    plan = builder.build()
    caveat = "Not all of the 3 untrained encoders per seed have been scored"
    assert caveat not in (complete := write(builder, plan))
    assert "the mean score of 3 untrained encoders, its own and 2 that no other seed" in complete
    assert "(mean of 3 untrained encoders per seed)" in complete
    shutil.rmtree(builder.runs / plan.trials[-1].further_inits[0])
    for trial in read_results(plan, builder.runs).trials:
        own = read_score(builder, trial.plan.random_init)
        assert trial.gain == pytest.approx(read_score(builder, trial.fingerprint) - own)
    assert caveat in (without := write(builder, plan))
    assert "untrained encoders per seed)" not in without
    assert (builder.report / FINDINGS_FILE).is_file()


def test_further_untrained_encoders_are_runs_of_the_plan(builder: StudyBuilder) -> None:
    plan = builder.build()
    folders = {folder.name for folder in store.list_run_folders(plan, builder.runs)}
    assert folders == {folder.name for folder in builder.runs.iterdir()}


@pytest.mark.parametrize("num_seeds", [3, 8])
def test_the_mean_of_four_lowers_the_variance_of_gains_and_keeps_the_error_rate(
    num_seeds: int,
) -> None:
    studies = 4000
    rates = simulate_gains(4, num_seeds, 1.0, studies=studies)
    standard_error = 0.625 * (2 / (studies * num_seeds)) ** 0.5
    assert rates.variance == pytest.approx((1 + 1 / 4) / 2, abs=5 * standard_error)
    assert rates.false_words < 0.05 + 5 * (0.05 * 0.95 / studies) ** 0.5
