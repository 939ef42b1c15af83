"""Shares of variance are exact, and probe noise is separated from seed noise."""

import json
from dataclasses import replace
from statistics import variance

import numpy as np
import pytest

from ablate.report.results import Results, read_results
from ablate.report.run import ProbeScore
from ablate.report.stats.variance import build_spread_table, build_variance_share_table
from tests.report.conftest import TASKS, StudyBuilder
from tests.run_folders import rewrite_score


def by_source(results: Results, measure: str = "score") -> dict[str, float]:
    return {row["source"]: row[measure] for row in build_variance_share_table(results).rows}


def test_the_shares_of_a_full_grid_are_sums_of_squares_and_add_up(builder: StudyBuilder) -> None:
    builder.noise = 4.0
    results = builder.results()
    scores = np.array([trial.score for trial in results.trials]).reshape(3, 2, 3)
    total = ((scores - scores.mean()) ** 2).sum()
    masker = 6 * ((scores.mean(axis=(1, 2)) - scores.mean()) ** 2).sum()
    seed = 6 * ((scores.mean(axis=(0, 1)) - scores.mean()) ** 2).sum()
    shares = by_source(results)
    assert list(shares) == [
        "masker",
        "patchifier",
        "seed",
        "masker x patchifier",
        "everything else",
    ]
    assert shares["masker"] == pytest.approx(masker / total)
    assert shares["seed"] == pytest.approx(seed / total)
    assert sum(shares.values()) == pytest.approx(1)


def test_an_effect_shared_by_all_runs_of_a_seed_is_no_variance_of_the_gain(
    builder: StudyBuilder,
) -> None:
    results = builder.results()
    trials = tuple(
        replace(t, score=t.seed + 40.0, random_init_score=t.seed + 30.0) for t in results.trials
    )
    assert build_variance_share_table(replace(results, trials=trials)).rows[0]["gain"] is None
    assert by_source(replace(results, trials=trials))["seed"] == pytest.approx(1)


def test_a_design_without_identifiable_interactions_has_main_effects(builder: StudyBuilder) -> None:
    plan = builder.build()
    baseline = plan.baseline
    trials = tuple(
        trial
        for trial in plan.trials
        if sum(trial.levels[name] != level for name, level in baseline.items()) < 2
    )
    plan = replace(plan, trials=trials)
    shares = by_source(read_results(plan, builder.runs))
    assert set(shares) == {"masker", "patchifier", "seed", "everything else"}


def test_one_seed_or_no_score_has_no_shares(builder: StudyBuilder) -> None:
    builder.seeds = (0,)
    results = builder.results()
    assert set(by_source(results)) == {"masker", "patchifier", "everything else"}
    nothing = tuple(replace(trial, score=None) for trial in results.trials)
    assert not build_variance_share_table(replace(results, trials=nothing)).rows


def test_seeds_folds_and_probe_seeds_have_a_deviation_each(builder: StudyBuilder) -> None:
    plan = builder.build()
    folds, seeds = [40.0, 44.0, 42.0, 38.0], [41.0, 41.6]
    for path in builder.runs.glob("*/probes/*/*.json"):
        result = json.loads(path.read_text())
        for score in result["scores"].values():
            score |= {"folds": folds, "seeds": seeds}
        rewrite_score(path, result)
    results = read_results(plan, builder.runs)
    shares = {row["source"]: row["sd"] for row in build_spread_table(results).rows}
    within = [variance([t.score or 0 for t in trials]) for trials in results.variants().values()]
    assert shares["pre-training seeds"] == pytest.approx(np.mean(within) ** 0.5)
    untrained = [
        variance([trial.random_init_score or 0 for trial in trials])
        for trials in results.variants().values()
    ]
    assert shares["random inits"] == pytest.approx(np.mean(untrained) ** 0.5)
    assert shares["folds"] == pytest.approx((variance(folds) / 4 / len(TASKS)) ** 0.5)
    assert shares["probe seeds"] == pytest.approx((variance(seeds) / 2 / len(TASKS)) ** 0.5)


def test_a_variant_without_two_scores_is_not_counted(builder: StudyBuilder) -> None:
    results = builder.results()
    first = next(iter(results.variants()))
    lone = [id(trial) for trial in results.variants()[first][1:]]
    trials = tuple(replace(t, score=None) if id(t) in lone else t for t in results.trials)
    trained, untrained = build_spread_table(replace(results, trials=trials)).rows
    assert f"{len(results.variants()) - 1} variants" in trained.values()
    assert f"{len(results.variants())} variants" in untrained.values()


def test_a_probe_without_folds_has_no_row_of_folds(builder: StudyBuilder) -> None:
    assert [row["source"] for row in build_spread_table(builder.results()).rows] == [
        "pre-training seeds",
        "random inits",
    ]
    assert ProbeScore(task="a", probe="b", pooling="c", valid=None, test=1.0).folds == ()
