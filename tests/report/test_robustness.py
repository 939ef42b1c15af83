"""Contrasts by other probes and poolings are reported, and opposite signs are caveats."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from ablate.core.io import read_json
from ablate.core.records.plan import ScoreView
from ablate.report.pages.findings import FINDINGS_FILE
from ablate.report.pages.html import NO_BREAK_SPACE
from ablate.report.pages.table import Row
from ablate.report.report import write_report
from ablate.report.results import Results, read_results
from ablate.report.stats.robustness import build_robustness_table, format_difference
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import KNN, LINEAR, StudyBuilder
from tests.run_folders import rewrite_score

PROTOCOLS = {"knn": KNN, "linear": LINEAR}
VIEWS = [f"{p}.{pooling}" for p in ("knn", "linear") for pooling in ("mean", "mean_std")]


def shift(builder: StudyBuilder, points: float, *, probe: str, pooling: str, **levels: str) -> None:
    """Adds points to the scores of some variants by one probe and pooling."""
    for seed in builder.seeds:
        run = builder.runs / builder.fingerprint(seed, **levels)
        for path in run.glob("probes/*/*.json"):
            result = json.loads(path.read_text())
            if result["settings"] == PROTOCOLS[probe]:
                result["scores"][pooling]["test"] += points
                rewrite_score(path, result)


@pytest.fixture
def masks(builder: StudyBuilder) -> StudyBuilder:
    """Blocks are 8 points better than random by all probes and poolings but one."""
    builder.factors = {"masker": ["random", "block"]}
    builder.levels_score = lambda levels: 40.0 + 8.0 * (levels["masker"] == "block")
    return builder


def differences(results: Results) -> list[tuple[str, float | None, float | None, float | None]]:
    verdicts = [v for v in compute_verdicts(results) if v.contrast.family in ("pooled", "learning")]
    return [(v.contrast.level, v.estimate.mean, v.estimate.low, v.estimate.high) for v in verdicts]


def judged(results: Results) -> list[Row]:
    return [row for row in build_robustness_table(results).rows if row["judged"]]


def test_contrasts_judged_by_gain_have_a_second_row_by_score(builder: StudyBuilder) -> None:
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["patchifier"] == "strips")
    [row] = [row for row in build_robustness_table(builder.results()).rows if not row["judged"]]
    assert (row["factor"], row["level"], row["measure"]) == ("patchifier", "strips", "score")
    arms = {
        level: [t.score or 0 for t in builder.results().trials if level in t.levels.values()]
        for level in ("strips", "squares")
    }
    assert row["knn.concat_freq"] == pytest.approx(fmean(arms["strips"]) - fmean(arms["squares"]))


def test_the_first_column_agrees_with_the_verdicts(builder: StudyBuilder) -> None:
    results, own = builder.results(), "knn.concat_freq"
    rows = judged(results)
    described = [(row["level"], row[own], row[f"{own}_low"], row[f"{own}_high"]) for row in rows]
    assert described == differences(results)


def test_each_column_equals_the_contrasts_of_a_study_with_that_score(builder: StudyBuilder) -> None:
    builder.levels_score = lambda levels: 40.0 + 3.0 * (levels["masker"] == "block")
    rows = judged(builder.results())
    for name in VIEWS:
        probe, _, pooling = name.partition(".")
        plan = replace(builder.build(), score=ScoreView(probe=probe, pooling=pooling))
        described = [
            (row["level"], row[name], row[f"{name}_low"], row[f"{name}_high"]) for row in rows
        ]
        assert described == differences(read_results(plan, builder.runs))


def test_a_sign_that_another_pooling_reverses_is_a_caveat(masks: StudyBuilder) -> None:
    plan = masks.build()
    shift(masks, -16.0, probe="linear", pooling="mean_std", masker="block")
    summary = write_report(plan, masks.runs, masks.report)
    [row, learned] = build_robustness_table(masks.results()).rows
    [line] = [line for line in summary.caveats if "the opposite sign" in line]
    assert format_difference(row, "linear.mean_std") in line
    assert format_difference(row, "knn.concat_freq") in line
    assert "by linear.mean_std" in line
    assert not learned["other_sign"]
    assert [
        entry["other_sign"] for entry in read_json(masks.report / FINDINGS_FILE)["robustness"]
    ] == [
        row["other_sign"],
        "",
    ]


def test_probes_that_agree_on_the_sign_are_no_caveat(masks: StudyBuilder) -> None:
    plan = masks.build()
    shift(masks, -8.0, probe="linear", pooling="mean_std", masker="block")  # zero, give or take
    assert not [
        c for c in write_report(plan, masks.runs, masks.report).caveats if "other sign" in c
    ]


@pytest.mark.parametrize("points", [-8.0, 8.0])
def test_an_equivalence_that_another_reading_contradicts_is_a_caveat_on_either_side(
    masks: StudyBuilder, points: float
) -> None:
    masks.levels_score, masks.noise = (lambda levels: 40.0), 0.3
    plan = masks.build()
    shift(masks, points, probe="linear", pooling="mean_std", masker="block")
    shift(masks, points / 8, probe="linear", pooling="mean", masker="block")  # within the margin
    verdicts = compute_verdicts(masks.results())
    assert verdicts[0].word == "equivalent"
    caveats = write_report(plan, masks.runs, masks.report).caveats
    [line] = [line for line in caveats if "is equivalent by the study's own score" in line]
    [row, _] = build_robustness_table(masks.results()).rows
    assert f"{format_difference(row, 'linear.mean_std')} by linear.mean_std" in line
    assert "by 1 of 5 other probes and poolings" in line
    text = masks.report.joinpath("report.md").read_text()
    assert "block and random are equivalent by knn.concat" in text


def test_an_undecided_contrast_names_the_readings_that_show_a_difference(
    masks: StudyBuilder,
) -> None:
    masks.levels_score, masks.noise, masks.margin = (lambda levels: 40.0), 0.5, 0.01
    plan = masks.build()
    shift(masks, 30.0, probe="linear", pooling="mean_std", masker="block")
    assert compute_verdicts(masks.results())[0].word == "undecided"
    caveats = write_report(plan, masks.runs, masks.report).caveats
    [line] = [line for line in caveats if "is undecided by the study's own score" in line]
    assert "by linear.mean_std" in line
    assert not [line for line in caveats if "the opposite sign" in line]


def test_intervals_that_exclude_zero_are_marked_on_every_page(masks: StudyBuilder) -> None:
    plan = masks.build()
    shift(masks, -8.0, probe="linear", pooling="mean_std", masker="block")
    page = write_report(plan, masks.runs, masks.report).page
    cells = dict(zip(*_table(page.with_name("report.md")), strict=True))
    assert cells["knn.mean"].endswith("] *")
    assert cells["linear.mean_std"].endswith("]")
    value, _, interval = cells["knn.mean"].partition(" ")
    unbroken = f"{value} {interval.replace(' ', NO_BREAK_SPACE)}"
    assert unbroken in page.read_text()


def test_a_pooling_that_lacks_a_scored_run_has_no_column(builder: StudyBuilder) -> None:
    plan = builder.build()
    lost = builder.runs / builder.fingerprint(1, masker="block", patchifier="strips")
    for path in lost.glob("probes/speech/*.json"):
        result = json.loads(path.read_text())
        del result["scores"]["mean"]
        rewrite_score(path, result)
    heads = [
        column.head for column in build_robustness_table(read_results(plan, builder.runs)).columns
    ]
    assert "knn.mean_std" in heads
    assert "knn.mean" not in heads


def test_a_study_with_a_single_score_has_no_robustness_table(builder: StudyBuilder) -> None:
    plan = builder.build()
    for path in builder.runs.glob("*/probes/*/*.json"):
        result = json.loads(path.read_text())
        kept = {name: entry for name, entry in result["scores"].items() if name == "concat_freq"}
        rewrite_score(path, {**result, "scores": kept})
        if result["settings"] == LINEAR:
            path.unlink()
    assert not build_robustness_table(read_results(plan, builder.runs)).rows


def _table(report: Path) -> tuple[list[str], list[str]]:
    """Returns the column heads and the first row of the table."""
    part = report.read_text().partition("## Does it depend on the probe?")[2]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    heads, _, first, *_ = [
        [entry.strip() for entry in line.strip("|").split("|")] for line in lines
    ]
    return heads, first
