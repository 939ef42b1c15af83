"""Published reports are complete; the page that lists them agrees with their findings."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.core.io import read_json, write_json
from ablate.report.pages.findings import FINDINGS_FILE, read_findings
from ablate.report.pages.publish import publish_report, write_results_page
from ablate.report.pages.table import MINUS
from tests.report.conftest import StudyBuilder

POOLED = "pooled over patchifier"


def write_every_contrast(folders: list[Path], root: Path) -> str:
    """Writes the page of results; returns what comes after its overview."""
    return write_results_page(folders, root).partition("## Every contrast")[2]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


def test_a_published_report_has_all_files_that_it_links(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    into = tmp_path / "results" / "masking"
    publish_report(reported.report, into)
    text, original = ((folder / "report.md").read_text() for folder in (into, reported.report))
    [files] = set(original.split("\n\n")) - set(text.split("\n\n"))
    assert files.startswith("Files next to this page: ")  # most of them are not published
    assert any("gallery/" in link for link in links(text))
    assert all((into / link).is_file() for link in links(text))
    assert {path.suffix for path in into.rglob("*.*")} == {".md", ".png", ".csv", ".json"}


def test_the_gallery_can_be_left_out(reported: StudyBuilder, tmp_path: Path) -> None:
    publish_report(reported.report, tmp_path / "masking")
    publish_report(reported.report, tmp_path / "masking", include_gallery=False)
    text = (tmp_path / "masking" / "report.md").read_text()
    assert "gallery" not in text.lower()
    assert "\n\n## Experimental protocol\n\n" in text
    assert not (tmp_path / "masking" / "gallery").exists()


def test_a_published_report_has_no_absolute_paths(reported: StudyBuilder, tmp_path: Path) -> None:
    report = reported.report / "report.md"
    before = report.read_text()
    overrides = (
        "# override: data.manifest=/home/me/sounds/metadata.csv\n# override: mel.hop_ms=15\n"
    )
    report.write_text(before + overrides)
    publish_report(reported.report, tmp_path / "masking")
    report.write_text(before)
    published = (tmp_path / "masking" / "report.md").read_text()
    assert "# override: data.manifest=metadata.csv\n# override: mel.hop_ms=15\n" in published


def test_every_link_of_the_results_page_has_a_target(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    into = tmp_path / "results" / "masking"
    publish_report(reported.report, into)
    page = write_results_page([into], into.parent)
    assert len(links(page)) > 2
    assert all((into.parent / link.partition("#")[0]).is_file() for link in links(page))


def test_a_foreword_stands_before_the_first_question(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    into = tmp_path / "results" / "masking"
    publish_report(reported.report, into)
    page = write_results_page([into], into.parent)
    (into.parent / "foreword.md").write_text("## What is new\n\nMuch.\n")
    heading, _, rest = write_results_page([into], into.parent).partition(
        "\n\n## What is new\n\nMuch."
    )
    assert heading + rest == page
    assert "##" not in heading


def test_verdicts_within_a_combination_are_listed_if_the_pooled_one_differs(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    text = write_every_contrast([reported.report], reported.root)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    listed = [(row[0], row[1], row[2]) for row in rows]
    assert (f"| block {MINUS} random", "strips", "**better**") in listed
    assert (f"| block {MINUS} random", POOLED, "**differs by patchifier**") in listed
    assert not [word for *_, word in listed if "**" in word and "equivalent" in word]
    curricula = [
        where for contrast, where, _ in listed if contrast == f"| curriculum {MINUS} random"
    ]
    assert curricula == [POOLED]


def test_reports_on_one_question_share_a_table_with_most_trials_first(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    findings = read_findings(reported.report)
    folders = []
    for study, title, trials in (("few", "Why?", 3), ("most", "Why?", 9), ("other", "How?", 5)):
        folders.append(tmp_path / study)
        changed = replace(findings, study=study, title=title, num_trials=trials)
        changed.write(folders[-1] / FINDINGS_FILE)
    text = write_every_contrast(folders, tmp_path)
    assert re.findall(r"^### (.*)$", text, flags=re.MULTILINE) == ["Why?", "How?"]
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    studies = list(dict.fromkeys(row for row in rows if "`" in row))
    assert studies == ["| `most`", "| `few`"]  # the only report on a question is not named


def parse_heads(text: str) -> list[str]:
    [head] = [line for line in text.splitlines() if line.startswith("| contrast")]
    return head.split(" | ")


def test_the_measure_is_a_column_if_some_contrast_is_measured_by_gain(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    findings = read_findings(reported.report)
    text = write_every_contrast([reported.report], reported.root)
    measures = {
        row.split(" | ")[0]: row.split(" | ")[parse_heads(text).index("measure")]
        for row in text.splitlines()
        if row.startswith("| ") and row.split(" | ")[1].startswith("pooled")
    }
    assert measures[f"| strips {MINUS} squares"] == "gain"
    assert measures[f"| block {MINUS} random"] == "score"
    by_score = [verdict for verdict in findings.verdicts if verdict.measure == "score"]
    replace(findings, verdicts=by_score).write(tmp_path / FINDINGS_FILE)
    assert "measure" not in parse_heads(write_results_page([tmp_path], tmp_path))


def test_the_index_has_the_data_the_notes_and_the_reversed_signs(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    findings = read_findings(reported.report)
    first, *rest = findings.robustness
    changed = replace(
        findings,
        data_summary="9 clips of synthetic sound",
        notes={"block": "as drawn"},
        robustness=[replace(first, other_sign="+2.7 [1.3, 4.2] by linear.mean_std"), *rest],
    )
    changed.write(tmp_path / FINDINGS_FILE)
    text = write_results_page([tmp_path], tmp_path)
    assert "trials scored by knn.concat_freq on 9 clips of synthetic sound; " in text
    assert "\n\n- `block`: as drawn\n\n" in text
    assert f"{first.level} {MINUS} {first.against} is +2.7 [1.3, 4.2] by linear" in text


@pytest.mark.parametrize("version", [None, 0])
def test_findings_of_another_format_are_rejected_with_the_remedy(
    reported: StudyBuilder, tmp_path: Path, version: int | None
) -> None:
    content = read_json(reported.report / FINDINGS_FILE) | {"format": version}
    write_json(tmp_path / FINDINGS_FILE, content)
    with pytest.raises(ValueError, match=r"findings\.json has .*`ablate report STUDY`"):
        write_results_page([tmp_path], tmp_path)


def test_the_findings_agree_with_the_tables(reported: StudyBuilder) -> None:
    findings = read_findings(reported.report)
    with (reported.report / "tables" / "variants.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [variant.variant for variant in findings.variants] == [row["variant"] for row in rows]
    for variant, row in zip(findings.variants, rows, strict=True):
        for name in ("score", "gain", "over_mel_statistics"):
            assert getattr(variant, name) == float(row[name])
            by_task = [getattr(task, name) for task in variant.tasks.values()]
            assert sum(by_task) / len(by_task) == pytest.approx(getattr(variant, name))
        above = variant.over_mel_statistics_by[findings.score]
        assert above == pytest.approx(variant.over_mel_statistics)


def test_a_report_without_findings_is_rejected_with_the_remedy(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"contains no {FINDINGS_FILE}, .*`ablate report STUDY`"):
        publish_report(tmp_path, tmp_path / "into")
    with pytest.raises(ValueError, match=rf"contains no {FINDINGS_FILE}"):
        write_results_page([tmp_path], tmp_path)


def test_a_report_without_a_score_does_not_replace_a_published_one(
    reported: StudyBuilder, tmp_path: Path
) -> None:
    into, empty = tmp_path / "masking", tmp_path / "empty"
    publish_report(reported.report, into)
    replace(read_findings(reported.report), num_scored=0).write(empty / FINDINGS_FILE)
    message = r"no trial of this study has a score; check that ABLATE_RUNS"
    with pytest.raises(ValueError, match=message):
        publish_report(empty, into)
    assert read_findings(into).num_scored


@pytest.mark.parametrize("name", [FINDINGS_FILE, "scores.csv", "figures/contrasts.png"])
def test_an_incomplete_report_does_not_replace_a_published_one(
    reported: StudyBuilder, tmp_path: Path, name: str
) -> None:
    into = tmp_path / "masking"
    publish_report(reported.report, into)
    before = {path: path.read_bytes() for path in into.rglob("*.*")}
    (reported.report / name).rename(tmp_path / "aside")
    try:
        with pytest.raises(ValueError, match=f"{name}.*`?ablate report STUDY"):
            publish_report(reported.report, into)
    finally:
        (tmp_path / "aside").rename(reported.report / name)
    assert {path: path.read_bytes() for path in into.rglob("*.*")} == before
