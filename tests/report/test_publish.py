"""Kept reports are whole, and the README says of them what they say themselves."""

import csv
import re
from pathlib import Path

import pytest

from ablate.core.io import write_json
from ablate.report.pages.findings import FILE, findings_of
from ablate.report.pages.index import listing
from ablate.report.pages.publish import BEGIN, END, PAGE, keep, rewrite, section
from ablate.report.pages.table import MINUS
from tests.report.conftest import Bench

POOLED = "pooled over patchifier"
FRAME = f"# Title\n\nBefore.\n\n{BEGIN}\nstale\n{END}\n\nAfter.\n"


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text)


def test_a_kept_report_has_all_that_it_links(reported: Bench, tmp_path: Path) -> None:
    into = tmp_path / "results" / "masking"
    keep(reported.report, into)
    text, whole = ((folder / "report.md").read_text() for folder in (into, reported.report))
    [files] = set(whole.split("\n\n")) - set(text.split("\n\n"))
    assert files.startswith("The same numbers lie beside this page: ")  # few of them are kept
    assert any("gallery/" in link for link in links(text))
    assert all((into / link).is_file() for link in links(text))
    assert {path.suffix for path in into.rglob("*.*")} == {".md", ".png", ".csv", ".json"}


def test_without_pictures_of_sound_no_clip_is_shown(reported: Bench, tmp_path: Path) -> None:
    keep(reported.report, tmp_path / "masking")
    keep(reported.report, tmp_path / "masking", pictures_of_sound=False)
    text = (tmp_path / "masking" / "report.md").read_text()
    assert "gallery" not in text.lower()
    assert "\n\n## Experimental protocol\n\n" in text
    assert not (tmp_path / "masking" / "gallery").exists()


def test_no_kept_report_says_where_sound_lay(reported: Bench, tmp_path: Path) -> None:
    report = reported.report / "report.md"
    before = report.read_text()
    told = "# override: data.manifest=/home/me/sounds/metadata.csv\n# override: mel.hop_ms=15\n"
    report.write_text(before + told)
    keep(reported.report, tmp_path / "masking")
    report.write_text(before)
    kept = (tmp_path / "masking" / "report.md").read_text()
    assert "# override: data.manifest=metadata.csv\n# override: mel.hop_ms=15\n" in kept


def test_the_readme_changes_between_its_markers_alone(reported: Bench, tmp_path: Path) -> None:
    readme, into = tmp_path / "README.md", tmp_path / "results" / "masking"
    keep(reported.report, into)
    readme.write_text(FRAME)
    rewrite(readme, into.parent, [into])
    once = readme.read_text()
    told = section(readme, into.parent, [into])
    assert once == FRAME.replace(f"{BEGIN}\nstale\n{END}", told)
    assert all((tmp_path / link).is_file() for link in links(once))
    page = (into.parent / PAGE).read_text()
    assert all((into.parent / link.partition("#")[0]).is_file() for link in links(page))
    rewrite(readme, into.parent, [into])
    assert readme.read_text() == once


def test_verdicts_within_a_combination_stand_where_the_pooled_one_differs(
    reported: Bench, tmp_path: Path
) -> None:
    text = listing([reported.report], reported.root)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    told = [(row[0], row[1], row[2]) for row in rows]
    assert (f"| block {MINUS} random", "strips", "**better**") in told
    assert (f"| block {MINUS} random", POOLED, "**differs by patchifier**") in told
    curricula = [where for contrast, where, _ in told if contrast.startswith("| curriculum")]
    assert curricula == [POOLED]


def test_reports_on_one_question_share_a_table_the_one_with_most_trials_first(
    reported: Bench, tmp_path: Path
) -> None:
    found = dict(findings_of(reported.report))
    kept = []
    for study, title, trials in (("few", "Why?", 3), ("most", "Why?", 9), ("other", "How?", 5)):
        kept.append(tmp_path / study)
        write_json(kept[-1] / FILE, {**found, "study": study, "title": title, "trials": trials})
    text = listing(kept, tmp_path)
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Why?", "How?"]
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    named = list(dict.fromkeys(row for row in rows if "`" in row))
    assert named == ["| `most`", "| `few`"]  # alone, `other` needs no name in its rows


def heads(text: str) -> list[str]:
    [head] = [line for line in text.splitlines() if line.startswith("| contrast")]
    return head.split(" | ")


def test_the_measure_stands_where_one_is_the_gain(reported: Bench, tmp_path: Path) -> None:
    found = dict(findings_of(reported.report))
    text = listing([reported.report], reported.root)
    measures = {
        row.split(" | ")[0]: row.split(" | ")[heads(text).index("measure")]
        for row in text.splitlines()
        if row.startswith("| ") and row.split(" | ")[1].startswith("pooled")
    }
    assert measures[f"| strips {MINUS} squares"] == "gain"
    assert measures[f"| block {MINUS} random"] == "score"
    scores = [row for row in found["verdicts"] if row["measure"] == "score"]
    write_json(tmp_path / FILE, {**found, "verdicts": scores})
    assert "measure" not in heads(listing([tmp_path], tmp_path))


def test_what_was_heard_what_levels_mean_and_what_other_probes_turn_are_told(
    reported: Bench, tmp_path: Path
) -> None:
    found = dict(findings_of(reported.report))
    first, *rest = found["robustness"]
    told = {"sound": "9 clips of synthetic sound", "notes": {"block": "as drawn"}}
    turned = {**first, "other_sign": "+2.7 [1.3, 4.2] by linear.mean_std"}
    write_json(tmp_path / FILE, {**found, **told, "robustness": [turned, *rest]})
    text = listing([tmp_path], tmp_path)
    assert "trials scored by knn.concat_freq on 9 clips of synthetic sound; " in text
    assert "\n\n- `block`: as drawn\n\n" in text
    assert f"{first['level']} {MINUS} {first['against']} is +2.7 [1.3, 4.2] by linear" in text


def test_findings_of_before_there_was_more_to_tell_are_still_read(
    reported: Bench, tmp_path: Path
) -> None:
    found = dict(findings_of(reported.report))
    older = {
        key: found[key] for key in found if key not in ("sound", "data", "notes", "robustness")
    }
    write_json(tmp_path / FILE, older)
    assert "18 of 18 trials scored by knn.concat_freq; " in listing([tmp_path], tmp_path)


def test_the_findings_are_the_numbers_of_the_tables(reported: Bench) -> None:
    found = findings_of(reported.report)
    with (reported.report / "tables" / "variants.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [of["variant"] for of in found["variants"]] == [row["variant"] for row in rows]
    for variant, row in zip(found["variants"], rows, strict=True):
        for name in ("score", "gain", "over_mel_statistics"):
            assert variant[name] == float(row[name])
            by_task = [of[name] for of in variant["tasks"].values()]
            assert sum(by_task) / len(by_task) == pytest.approx(variant[name])
        above = variant["over_mel_statistics_by"][found["score"]]
        assert above == pytest.approx(variant["over_mel_statistics"])


def test_a_report_without_findings_says_how_to_get_them(reported: Bench, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"holds no {FILE}: .*`ablate report STUDY`"):
        keep(tmp_path, tmp_path / "into")
    with pytest.raises(ValueError, match=rf"holds no {FILE}"):
        listing([tmp_path], tmp_path)


def test_a_report_without_a_score_replaces_no_kept_one(reported: Bench, tmp_path: Path) -> None:
    into, empty = tmp_path / "masking", tmp_path / "empty"
    keep(reported.report, into)
    write_json(empty / FILE, {**findings_of(reported.report), "scored": 0})
    with pytest.raises(ValueError, match=r"none of whose trials has a score; is ABLATE_RUNS"):
        keep(empty, into)
    assert findings_of(into)["scored"]


@pytest.mark.parametrize("name", [FILE, "scores.csv", "figures/contrasts.png"])
def test_a_report_that_lacks_something_leaves_the_kept_one_alone(
    reported: Bench, tmp_path: Path, name: str
) -> None:
    into = tmp_path / "masking"
    keep(reported.report, into)
    before = {path: path.read_bytes() for path in into.rglob("*.*")}
    (reported.report / name).rename(tmp_path / "aside")
    try:
        with pytest.raises(ValueError, match=f"{name}.*`?ablate report STUDY"):
            keep(reported.report, into)
    finally:
        (tmp_path / "aside").rename(reported.report / name)
    assert {path: path.read_bytes() for path in into.rglob("*.*")} == before


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, FRAME + FRAME])
def test_a_readme_without_its_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match="must have one line `<!-- results"):
        rewrite(readme, tmp_path / "results", [])
    assert readme.read_text() == text
