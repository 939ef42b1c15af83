"""The README's section says in a small table what the reports found, corpus by corpus."""

from pathlib import Path
from typing import Any

import pytest

from ablate.core.io import write_json
from ablate.report.pages.findings import FILE, findings_of
from ablate.report.pages.readme_section import brief
from ablate.report.pages.table import MINUS, format_interval, format_number
from tests.report.conftest import Bench


@pytest.fixture
def found(reported: Bench) -> dict[str, Any]:
    return dict(findings_of(reported.report))


def told(root: Path, *reports: dict[str, Any]) -> str:
    """Returns the section on some findings, each in a folder named for its study."""
    folders = []
    for report in reports:
        folders.append(root / report["study"])
        write_json(folders[-1] / FILE, report)
    return brief(folders, root, page="all.md")


def rows(text: str) -> dict[str, list[str]]:
    """Returns the cells of a section's only table, by what is compared."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {first: rest for first, *rest in lines}


def test_a_clear_verdict_is_bold_and_an_open_one_says_so(
    found: dict[str, Any], tmp_path: Path
) -> None:
    table = rows(told(tmp_path, found))
    for row in found["verdicts"]:
        if row["family"] == "pooled" and not row["verdict"].startswith("differs"):
            [cell] = (of for name, [of] in table.items() if name.startswith(f"`{row['level']}`"))
            said = format_number(row["difference"], signed=True)
            known = format_interval(row["difference_low"], row["difference_high"])
            word = row["verdict"].partition(":")[0]
            clear = word in ("better", "worse")
            assert cell == (f"**{said}** {known}" if clear else f"{said} {known} {word}")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-5.0, -2.0, "undecided, p 0.064"),
        (2.0, 5.0, "undecided, p 0.064"),
        (-2.0, 5.0, "undecided"),
        (None, None, "undecided"),  # of one seed
    ],
)
def test_what_holm_leaves_undecided_though_its_interval_excludes_zero_has_its_p_value(
    found: dict[str, Any], tmp_path: Path, low: float | None, high: float | None, word: str
) -> None:
    for row in found["verdicts"]:
        row |= {"verdict": "undecided: 9 more seeds", "p_holm": 0.064}
        row |= {"difference": 1.0, "difference_low": low, "difference_high": high}
    cells = [cell for [cell] in rows(told(tmp_path, found)).values()]
    assert cells
    assert all(cell.endswith(f" {word}") for cell in cells)


def test_what_depends_on_the_combination_is_told_where_it_holds(
    found: dict[str, Any], tmp_path: Path
) -> None:
    table = rows(told(tmp_path, found))
    assert f"`block` {MINUS} `random` with strips" in table
    assert f"`block` {MINUS} `random` with squares" in table
    assert not any("pooled" in name for name in table)


def test_reports_on_one_question_stand_side_by_side(found: dict[str, Any], tmp_path: Path) -> None:
    other = {**found, "study": "notes", "trials": 1, "seeds": [0], "data": [
        {"clips": 9, "pretraining_clips": 9, "synthetic": False, "tasks": ["notes"]}
    ]}  # fmt: skip
    other["verdicts"] = [row for row in found["verdicts"] if row["level"] == "curriculum"]
    text = told(tmp_path, other, found)
    heads = next(line for line in text.splitlines() if line.startswith("|  |"))
    corpus = ", ".join(found["data"][0]["tasks"])
    first = f"[{corpus}]({found['study']}/report.md), {len(found['seeds'])} seeds"
    assert heads == f"|  | {first} | [notes](notes/report.md), 1 seed |"
    for name, [one, two] in rows(text).items():
        assert (one == two) == name.startswith("`curriculum`")
        assert name.startswith("`curriculum`") or not two.strip(" |")


def test_a_report_that_pools_is_told_beside_one_that_cannot_in_every_combination(
    found: dict[str, Any], tmp_path: Path
) -> None:
    pools = [
        {**row, "verdict": row["verdict"].replace("differs by patchifier", "worse")}
        for row in found["verdicts"]
    ]
    text = told(tmp_path, found, {**found, "study": "notes", "trials": 1, "verdicts": pools})
    cells = rows(text)
    for where in ("strips", "squares"):
        one, two = cells[f"`block` {MINUS} `random` with {where}"]
        assert one == two
    one, two = cells[f"`block` {MINUS} `random`"]
    assert two.startswith("**")
    assert not one


def test_a_level_is_explained_where_it_is_first_named(
    found: dict[str, Any], tmp_path: Path
) -> None:
    text = told(tmp_path, {**found, "notes": {"block": "as drawn"}})
    assert text.count("as drawn") == 1
    [first] = (line for line in text.splitlines() if "as drawn" in line)
    assert first.startswith(f"| `block` {MINUS} `random` with ")


@pytest.mark.parametrize(
    ("second", "other", "said"),
    [
        (2.0, -1.0, "1 scores more by the study's own probe."),
        (-2.0, -1.0, "none scores more by the study's own probe."),
        (2.0, 1.0, "1 scores more by the study's own probe, up to 6 by another probe or pooling."),
    ],
)
def test_how_many_beat_plain_statistics_is_counted_by_every_probe(
    found: dict[str, Any], tmp_path: Path, second: float, other: float, said: str
) -> None:
    above = [-1.0, second, *[-3.0] * (len(found["variants"]) - 2)]
    variants = [
        {
            **of,
            "over_mel_statistics": value,
            "over_mel_statistics_by": {"knn.mean": value, "linear.mean": other},
        }
        for of, value in zip(found["variants"], above, strict=True)
    ]
    text = told(tmp_path, {**found, "variants": variants})
    held = (
        f" Of {len(above)} variants held against plain log-mel statistics, which need no encoder, "
    )
    assert held + said in text


def test_masks_that_a_guard_changed_are_told_under_the_table(
    found: dict[str, Any], tmp_path: Path
) -> None:
    assert "changed by a guard" not in told(tmp_path, found)
    line = "Masks changed by a guard, because none could be drawn as asked: 52 % of legacy."
    text = told(tmp_path, {**found, "giveaways": [line]})
    assert f"\n\n- On {', '.join(found['data'][0]['tasks'])}: {line}\n\n" in text


def test_nothing_is_said_of_no_report(tmp_path: Path) -> None:
    assert brief([], tmp_path, page="all.md") == ""
