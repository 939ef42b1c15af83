"""Contrasts on single tasks describe what the mean over tasks hides, without verdicts."""

from pathlib import Path
from statistics import fmean

import pytest

from ablate.core.io import read_json
from ablate.report.pages.findings import FINDINGS_FILE
from ablate.report.results import Results
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.contrasts import list_contrasts
from ablate.report.stats.statistics import estimate_mean
from ablate.report.stats.task_contrasts import estimate_task_contrasts
from tests.report.conftest import TASKS, StudyBuilder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    builder = StudyBuilder(tmp_path_factory.mktemp("study"))
    builder.build()
    return builder.results()


def get_key(contrast: Contrast) -> tuple[object, ...]:
    return contrast.family, contrast.factor, contrast.level, contrast.fixed_levels


def test_the_mean_over_tasks_is_the_difference_of_the_verdict(results: Results) -> None:
    by_task = estimate_task_contrasts(results)
    for contrast in list_contrasts(results):
        own = [each for each in by_task if get_key(each.contrast) == get_key(contrast)]
        if contrast.family in ("pooled", "within", "learning"):
            assert [each.task for each in own] == sorted(TASKS)
            mean = contrast.estimate(alpha=0.05).mean
            assert fmean(each.estimate.mean or 0.0 for each in own) == pytest.approx(mean)
        else:
            assert not own


def test_the_interval_of_a_task_is_that_of_its_own_scores(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path, {"masker": ["random", "block"]}, (0, 1, 2, 3), ())
    scores = builder.results().scores()
    own = scores[(scores.kind == "jepa") & (scores.probe == "knn")]
    own = own[own.pooling == "concat_freq"]
    for each in estimate_task_contrasts(builder.results()):
        if each.contrast.family == "pooled":
            table = own[own.task == each.task].pivot(index="seed", columns="masker", values="test")
            values = (table["block"] - table["random"]).tolist()
            assert each.estimate == estimate_mean(values, alpha=0.05)


def test_page_and_findings_have_them_folded_and_without_verdicts(reported: StudyBuilder) -> None:
    findings = read_json(reported.report / FINDINGS_FILE)
    assert {row["task"] for row in findings["task_contrasts"]} == set(TASKS)
    page = (reported.report / "index.html").read_text()
    assert "<summary>Show contrasts on each task</summary>" in page
    text = (reported.report / "report.md").read_text()
    assert "No part of the verdicts: the intervals are corrected neither" in " ".join(text.split())
    table = (reported.report / "tables" / "task-contrasts.csv").read_text()
    assert "p_holm" not in table
    assert "verdict" not in table


def test_a_study_of_one_task_has_no_such_table(
    builder: StudyBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.report.conftest.TASKS", {"speech": 0.0})
    assert estimate_task_contrasts(builder.results()) == []
