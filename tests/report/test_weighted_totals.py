"""X-ARES totals have the published weights, and missing tasks are listed."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from ablate.core.records.plan import MissingTask
from ablate.report.results import Results, read_results
from ablate.report.stats.weighted_totals import build_totals_table
from tests.plans import COUNTS, change_data
from tests.report.conftest import StudyBuilder

FACTS = {
    "speech": {"domain": "speech", "weight": 3000},
    "music": {"domain": "music", "weight": 100},
    "environment": {"domain": "environment", "weight": 400},
}
LACKING = MissingTask(task="esc50", reason="no folder", domain="environment", weight=500)


def with_task_facts(
    builder: StudyBuilder, facts: dict[str, Any], missing: list[MissingTask]
) -> Results:
    tasks = {name: replace(COUNTS, **facts.get(name, {})) for name in FACTS}
    plan = change_data(builder.build(), tasks=tasks, missing=tuple(missing))
    return read_results(plan, builder.runs)


def by_hand(results: Results, levels: tuple[str, ...], task: str) -> float:
    scores = [
        score.test
        for trial in results.variants()[levels]
        for score in trial.run.scores
        if (score.probe, score.pooling, score.task) == ("knn", "concat_freq", task)
    ]
    return sum(scores) / len(scores)


def test_totals_agree_with_sums_by_hand(builder: StudyBuilder) -> None:
    results = with_task_facts(builder, FACTS, [LACKING])
    rows = [row for row in build_totals_table(results).rows if row["probe"] == "knn.concat_freq"]
    for levels, row in zip(results.variants(), rows, strict=True):
        scores = {task: by_hand(results, levels, task) for task in FACTS}
        for task, score in scores.items():
            assert row[task] == pytest.approx(score)
        weighted = sum(FACTS[task]["weight"] * scores[task] for task in FACTS) / 3500
        assert row["weighted"] == pytest.approx(weighted)
        assert row["covered"] == pytest.approx(3500 / 4000)


def test_tasks_outside_x_ares_do_not_count(builder: StudyBuilder) -> None:
    facts = {name: fact for name, fact in FACTS.items() if name != "music"}
    for row in build_totals_table(with_task_facts(builder, facts, [])).rows:
        assert row["music"] is None
        assert row["covered"] == 1


def test_a_seed_without_a_task_is_in_no_total_of_it(builder: StudyBuilder) -> None:
    complete = with_task_facts(builder, FACTS, [])
    first, *others = next(iter(complete.variants().values()))
    shutil.rmtree(builder.runs / str(first.fingerprint) / "probes" / "speech")
    rows = build_totals_table(read_results(complete.plan, builder.runs)).rows
    row = next(row for row in rows if row["probe"] == "knn.concat_freq")
    tests = [
        {s.task: s.test for s in trial.run.scores if (s.probe, s.pooling) == ("knn", "concat_freq")}
        for trial in others
    ]
    totalled = [
        sum(FACTS[task]["weight"] * scores[task] for task in FACTS) / 3500 for scores in tests
    ]
    assert row["weighted"] == pytest.approx(sum(totalled) / len(others))


def test_missing_tasks_are_listed_with_their_reason(builder: StudyBuilder) -> None:
    assert (
        "Missing: esc50 (no folder)."
        in build_totals_table(with_task_facts(builder, FACTS, [LACKING])).caption
    )


def test_a_study_without_x_ares_tasks_has_no_totals(builder: StudyBuilder) -> None:
    assert build_totals_table(builder.results()).rows == ()
