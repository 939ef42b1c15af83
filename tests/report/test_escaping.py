"""Tests that text of a study does not act as markup, as a link or as a formula."""

from dataclasses import replace

import pytest

from ablate.report.pages.escaping import escape_markdown, fence, neutralise_formula
from ablate.report.report import write_report
from tests.report.conftest import StudyBuilder

HOSTILE = "<img src=x onerror=alert(1)> ![x](http://tracker) </details>"


def test_no_text_of_a_study_becomes_markup_in_the_markdown(builder: StudyBuilder) -> None:
    plan = builder.build()
    text = f"note: '{HOSTILE}'\n```\n{HOSTILE}"
    plan = replace(plan, title=HOSTILE, text=text, notes={"block": HOSTILE})
    page = write_report(plan, builder.root / "nowhere", builder.report).page
    markdown = page.with_name("report.md").read_text()
    prose, _, study = markdown.partition("````yaml\n")
    assert HOSTILE in study
    assert study.endswith("\n````\n")
    assert r"\<img src=x" in prose
    assert "<img src=x" not in prose.replace(r"\<img", "")
    assert "](http" not in prose
    assert "<img src=x" not in page.read_text()


def test_comparisons_and_intervals_stay_as_they_are() -> None:
    text = "p <0.001, 3 < 4, [1.0, 2.0] (95 %)"
    assert escape_markdown(text) == text


@pytest.mark.parametrize("ticks", ["x", "```", "a ````` b"])
def test_no_text_ends_the_block_of_the_study(ticks: str) -> None:
    first, *middle, last = fence(ticks, "yaml").splitlines()
    assert first == f"{last}yaml"
    assert last not in ticks
    assert middle == [ticks]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "--x"])
def test_a_formula_is_text_in_csv(text: str) -> None:
    assert neutralise_formula(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-1e-3", "+0.5", "random", -1.25, None, "a=b"])
def test_numbers_and_plain_text_are_unchanged_in_csv(value: object) -> None:
    assert neutralise_formula(value) is value
