"""The overview shows published results in one small table per question."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablate.core.records.findings import DataFinding, Findings
from ablate.report.pages.findings import FINDINGS_FILE, read_findings
from ablate.report.pages.index import group_by_question
from ablate.report.pages.overview import write_overview
from ablate.report.pages.table import MINUS, format_interval, format_number
from tests.report.conftest import StudyBuilder


@pytest.fixture
def findings(reported: StudyBuilder) -> Findings:
    return read_findings(reported.report)


def write_page(root: Path, *reports: Findings) -> str:
    """Writes the overview of some findings, each in a folder named after its study."""
    folders = []
    for report in reports:
        folders.append(root / report.study)
        report.write(folders[-1] / FINDINGS_FILE)
    return write_overview(group_by_question(folders, root))


def parse_rows(text: str) -> dict[str, list[str]]:
    """Returns the cells of an overview's only table, by contrast."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {first: rest for first, *rest in lines}


def test_decided_verdicts_are_bold_and_others_have_a_word(
    findings: Findings, tmp_path: Path
) -> None:
    table = parse_rows(write_page(tmp_path, findings))
    for verdict in findings.verdicts:
        if verdict.family == "pooled" and not verdict.verdict.startswith("differs"):
            [cell] = (
                cell for name, [cell] in table.items() if name.startswith(f"`{verdict.level}`")
            )
            difference = format_number(verdict.difference, signed=True)
            interval = format_interval(verdict.difference_low, verdict.difference_high)
            word = verdict.verdict.partition(":")[0]
            decided = word in ("better", "worse")
            expected = (
                f"**{difference}** {interval}" if decided else f"{difference} {interval} {word}"
            )
            assert cell == expected


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-5.0, -2.0, "undecided, p 0.064"),
        (2.0, 5.0, "undecided, p 0.064"),
        (-2.0, 5.0, "undecided"),
        (None, None, "undecided"),  # as with a single seed
    ],
)
def test_an_undecided_verdict_whose_interval_excludes_zero_has_its_p_value(
    findings: Findings, tmp_path: Path, low: float | None, high: float | None, word: str
) -> None:
    verdicts = [
        replace(
            verdict,
            verdict="undecided: 9 more seeds",
            p_holm=0.064,
            difference=1.0,
            difference_low=low,
            difference_high=high,
        )
        for verdict in findings.verdicts
    ]
    text = write_page(tmp_path, replace(findings, verdicts=verdicts))
    cells = [cell for [cell] in parse_rows(text).values()]
    assert cells
    assert all(cell.endswith(f" {word}") for cell in cells)


def test_a_difference_below_the_margin_is_not_bold_and_the_margin_is_named(
    findings: Findings, tmp_path: Path
) -> None:
    verdicts = [
        replace(v, verdict="better", notes="smaller than the margin of 2")
        for v in findings.verdicts
    ]
    text = write_page(tmp_path, replace(findings, verdicts=verdicts, margin=2.0))
    assert "place the difference within 2 points, the margin that a study declares." in text
    cells = [cell for [cell] in parse_rows(text).values()]
    assert cells
    assert all(cell.endswith(" better, but smaller than the margin") for cell in cells)
    assert "**" not in "".join(cells)


def test_a_contrast_with_an_interaction_is_listed_within_each_combination(
    findings: Findings, tmp_path: Path
) -> None:
    table = parse_rows(write_page(tmp_path, findings))
    assert f"`block` {MINUS} `random` with strips" in table
    assert f"`block` {MINUS} `random` with squares" in table
    assert not any("pooled" in name for name in table)


def test_reports_on_one_question_are_columns_of_one_table(
    findings: Findings, tmp_path: Path
) -> None:
    other = replace(
        findings,
        study="notes",
        num_trials=1,
        seeds=[0],
        data=[DataFinding(clips=9, pretraining_clips=9, synthetic=False, tasks=["notes"])],
        verdicts=[verdict for verdict in findings.verdicts if verdict.level == "curriculum"],
    )
    text = write_page(tmp_path, other, findings)
    heads = next(line for line in text.splitlines() if line.startswith("|  |"))
    corpus = ", ".join(findings.data[0].tasks)
    first = f"[{corpus}]({findings.study}/report.md), {len(findings.seeds)} seeds"
    assert heads == f"|  | {first} | [notes](notes/report.md), 1 seed |"
    for name, [one, two] in parse_rows(text).items():
        assert (one == two) == name.startswith("`curriculum`")
        assert name.startswith("`curriculum`") or not two.strip(" |")


def test_a_pooled_verdict_is_next_to_those_within_combinations_of_another_study(
    findings: Findings, tmp_path: Path
) -> None:
    pooled = [
        replace(verdict, verdict=verdict.verdict.replace("differs by patchifier", "worse"))
        for verdict in findings.verdicts
    ]
    other = replace(findings, study="notes", num_trials=1, verdicts=pooled)
    cells = parse_rows(write_page(tmp_path, findings, other))
    for where in ("strips", "squares"):
        one, two = cells[f"`block` {MINUS} `random` with {where}"]
        assert one == two
    one, two = cells[f"`block` {MINUS} `random`"]
    assert two.startswith("**")
    assert not one


def test_the_note_on_a_level_is_in_its_first_row(findings: Findings, tmp_path: Path) -> None:
    text = write_page(tmp_path, replace(findings, notes={"block": "as drawn"}))
    assert text.count("as drawn") == 1
    [first] = (line for line in text.splitlines() if "as drawn" in line)
    assert first.startswith(f"| `block` {MINUS} `random` with ")


@pytest.mark.parametrize(
    ("second", "other", "expected"),
    [
        (2.0, -1.0, "1 of the 6 variants beats {}."),
        (-2.0, -1.0, "None of the 6 variants beats {}."),
        (2.0, 1.0, "1 of the 6 variants beats {}; up to 6 do under another probe or pooling."),
    ],
)
def test_variants_that_beat_log_mel_statistics_are_counted_by_every_probe(
    findings: Findings, tmp_path: Path, second: float, other: float, expected: str
) -> None:
    above = [-1.0, second, *[-3.0] * (len(findings.variants) - 2)]
    variants = [
        replace(
            variant,
            over_mel_statistics=value,
            over_mel_statistics_by={"knn.mean": value, "linear.mean": other},
            over_mel_statistics_p=None,  # as in reports of 0.1
        )
        for variant, value in zip(findings.variants, above, strict=True)
    ]
    text = write_page(tmp_path, replace(findings, variants=variants))
    reference = "plain log-mel statistics under the study's default probe"
    assert f" {expected.format(reference)} " in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["better", "undecided"], " 1 of the 2 variants of newer reports is shown to be better"),
        (["worse", "equivalent"], " None of the 2 variants of newer reports is shown to be better"),
    ],
)
def test_variants_that_are_better_than_every_baseline_without_training_are_counted(
    findings: Findings, tmp_path: Path, words: list[str], expected: str
) -> None:
    others = [v for v in findings.verdicts if v.family != "untrained"]
    untrained = [v for v in findings.verdicts if v.family == "untrained"]
    decided = [replace(v, verdict=w) for v, w in zip(untrained, words, strict=False)]
    text = write_page(tmp_path, replace(findings, verdicts=[*others, *decided]))
    assert f"{expected} than the strongest baseline without training.\n" in text
    assert "newer reports" not in write_page(tmp_path, replace(findings, verdicts=others))


def test_warnings_about_masks_are_below_the_table(findings: Findings, tmp_path: Path) -> None:
    line = "Fallback masks: 52 % of legacy."
    assert "- On " not in write_page(tmp_path, findings)
    text = write_page(tmp_path, replace(findings, mask_warnings=[line]))
    assert text.endswith(f"\n\n- On {', '.join(findings.data[0].tasks)}: {line}")


def test_without_reports_the_overview_is_empty() -> None:
    assert write_overview([]) == ""
