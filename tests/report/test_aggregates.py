"""Intervals of aggregates over tasks cover the truth with few seeds."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from ablate.report.stats.aggregates import (
    build_aggregate_table,
    compute_half_width,
    compute_improvement,
    compute_interquartile_mean,
)
from tests.report.conftest import StudyBuilder

STUDIES, TASKS = 2000, 6
NOISE, SEED = 1.0, 0.7  # SD of a score on a task, and of what the tasks of a run share
Numbers = NDArray[np.float64]


def draw_pairs(seeds: int, effect: Numbers, studies: int = STUDIES) -> tuple[Numbers, Numbers]:
    """Draws scores of a level and its baseline, each (studies, tasks, seeds)."""
    draw, tasks = np.random.default_rng(3), 10 * np.arange(TASKS)[:, None]

    def one() -> Numbers:
        shared = SEED * draw.normal(size=(studies, 1, seeds))
        return tasks + shared + NOISE * draw.normal(size=(studies, TASKS, seeds))

    return one() + effect[:, None], one()


def subtract_means(one: Numbers, other: Numbers) -> Numbers:
    return compute_interquartile_mean(one) - compute_interquartile_mean(other)


def test_the_interquartile_mean_drops_a_quarter_on_either_side() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 6))
    assert compute_interquartile_mean(scores) == pytest.approx(
        stats.trim_mean(scores.ravel(), 0.25)
    )


def test_an_improvement_is_the_share_of_pairs_of_other_seeds() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 3, 4)).round(1)
    pairs = [
        (one[task, i] > other[task, j]) + 0.5 * (one[task, i] == other[task, j])
        for task in range(3)
        for i in range(4)
        for j in range(4)
        if i != j
    ]
    assert compute_improvement(one, other) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("size", [0.0, 1.0, 2.5])
def test_intervals_cover_the_truth(seeds: int, size: float) -> None:
    effect = size * np.linspace(0.5, 1.5, TASKS)
    arrays = draw_pairs(seeds, effect)
    many = draw_pairs(4000, effect, studies=1)
    truths = {
        subtract_means: subtract_means(*many)[0],
        compute_improvement: special.ndtr(effect / np.sqrt(2 * (NOISE**2 + SEED**2))).mean(),
    }
    for statistic, truth in truths.items():
        half = compute_half_width(statistic, arrays, 0.05)
        covered = np.abs(statistic(*arrays) - truth) <= half
        assert covered.mean() > 0.93


def test_a_study_of_few_tasks_has_no_aggregates(builder: StudyBuilder) -> None:
    assert build_aggregate_table(builder.results()).rows == ()


def test_every_variant_of_a_study_of_many_tasks_has_a_row(builder: StudyBuilder) -> None:
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["masker"] == "block")
    results = builder.results()
    trials = tuple(
        replace(
            trial,
            run=replace(
                trial.run,
                scores=tuple(
                    replace(score, task=f"{score.task}{copy}")
                    for score in trial.run.scores
                    for copy in range(2)
                ),
            ),
        )
        for trial in results.trials
    )
    rows = build_aggregate_table(replace(results, trials=trials)).rows
    assert len(rows) == 6
    by_masker = {row["masker"]: row for row in rows if row["patchifier"] == "squares"}
    assert by_masker["random"]["difference"] is None
    assert by_masker["block"]["improvement"] == 100
    assert by_masker["block"]["improvement_low"] < 100
    assert by_masker["block"]["difference_low"] < 9 < by_masker["block"]["difference_high"] + 1
