"""The tables of docs/decisions.md on the published studies follow from their scores."""

from pathlib import Path

import pytest

from ablate.report.pages.table import MINUS
from tests.report import published_words

PAGE = (Path(__file__).parents[2] / "docs" / "decisions.md").read_text()
SECTION = PAGE.partition("## Published studies by these rules\n")[2].partition("\n## ")[0]


def test_the_page_lists_every_published_word_that_would_be_another() -> None:
    listed = [line for line in SECTION.partition("\n\nWith three")[0].splitlines() if MINUS in line]
    changed = [
        line
        for folder in published_words.list_reports()
        for line in published_words.format_changed_words(folder)
    ]
    assert listed == changed


@pytest.mark.parametrize("name", ["patching", "regularised_masking"])
def test_the_page_has_the_words_of_three_seeds(name: str) -> None:
    assert published_words.format_agreement(published_words.PUBLISHED / name) in SECTION


def test_no_word_of_three_seeds_has_the_wrong_sign_by_the_present_rule() -> None:
    folders = published_words.list_reports(published_words.NUM_SEEDS)
    assert len(folders) == 8
    for folder in folders:
        assert published_words.compare_subsets(folder, "present", step=8).opposite == 0
