"""Ranks over tasks agree with published values; few tasks are not tested."""

import numpy as np
import pytest
from scipy import stats

from ablate.report.results import format_variant, read_results
from ablate.report.stats.ranks import Ranking, build_task_table, compute_ranking
from tests.report import conftest
from tests.report.conftest import TASKS, StudyBuilder

MORE = {"keywords": 2.0, "esc50": -6.0, "pitch": 4.0}


@pytest.fixture
def many_tasks(builder: StudyBuilder, monkeypatch: pytest.MonkeyPatch) -> StudyBuilder:
    monkeypatch.setattr(conftest, "TASKS", TASKS | MORE)
    builder.noise = 3.0
    return builder


def test_mean_ranks_are_those_of_each_task(builder: StudyBuilder) -> None:
    results = builder.results()
    ranking = compute_ranking(results)
    assert ranking is not None
    scores = results.scores()
    own = scores[(scores.kind == "jepa") & (scores.probe == "knn")]
    own = own[own.pooling == "concat_freq"]
    means = own.groupby(["variant", "task"])["test"].mean().unstack()
    expected = means.rank(ascending=False).mean(axis=1)
    assert dict(ranking.mean_ranks) == pytest.approx(expected.to_dict())


def test_three_tasks_are_ranked_but_not_tested(builder: StudyBuilder) -> None:
    results = builder.results()
    ranking = compute_ranking(results)
    assert ranking is not None
    assert (ranking.p, ranking.critical_difference) == (None, None)
    table = build_task_table(results, ranking)
    assert [row["variant"] for row in table.rows] == [*map(format_variant, results.variants())]
    assert "tested from 5 tasks and 3 variants on" in table.caption


def test_six_tasks_are_tested_by_friedman(many_tasks: StudyBuilder) -> None:
    ranking = compute_ranking(many_tasks.results())
    assert ranking is not None
    table = np.array([[*scores.values()] for scores in ranking.scores.values()])
    assert ranking.p == pytest.approx(stats.friedmanchisquare(*table).pvalue)


@pytest.mark.parametrize(("variants", "q"), [(3, 2.343), (6, 2.850)])  # Demsar (2006), table 5
def test_the_critical_difference_is_that_of_the_published_table(
    many_tasks: StudyBuilder, variants: int, q: float
) -> None:
    many_tasks.factors = {"masker": [str(number) for number in range(variants)]}
    ranking = compute_ranking(many_tasks.results())
    assert ranking is not None
    expected = q * (variants * (variants + 1) / (6 * 6)) ** 0.5
    assert ranking.critical_difference == pytest.approx(expected, abs=0.002)


def test_groups_are_the_largest_within_the_critical_difference() -> None:
    ranks = {"a": 1.0, "b": 1.8, "c": 2.5, "d": 4.0}
    ranking = Ranking(scores={}, mean_ranks=ranks, num_tasks=6, p=0.01, critical_difference=1.6)
    assert ranking.find_groups() == [(1.0, 2.5), (2.5, 4.0)]


def test_a_variant_that_lacks_a_task_is_left_out(builder: StudyBuilder) -> None:
    plan = builder.build()
    for seed in builder.seeds:
        builder.fail(builder.fingerprint(seed, masker="block", patchifier="squares"))
    ranking = compute_ranking(read_results(plan, builder.runs))
    assert ranking is not None
    assert len(ranking.mean_ranks) == 5


def test_one_task_has_no_ranks(builder: StudyBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "TASKS", {"speech": 0.0})
    results = builder.results()
    assert compute_ranking(results) is None
    assert not build_task_table(results, None).rows
