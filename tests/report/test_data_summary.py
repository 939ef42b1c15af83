"""What a study heard is told as it is, and that test clips were heard, where they were."""

from typing import Any

import pytest

from ablate.report.pages.data_summary import format_data_summary, warn_of_pretrained_test_clips

SPLIT = {"classes": 10, "train": 600, "valid": 200, "test": 400, "folds": None}
FOLDED = {"classes": 50, "folds": 5}


def data(clips: int, pretraining_clips: int, **tasks: object) -> dict[str, Any]:
    return {"clips": clips, "pretraining_clips": pretraining_clips, "tasks": tasks}


SYNTHETIC = {**data(3600, 1800, music=SPLIT, speech=SPLIT), "synthetic": True}
NOTES = {**data(1984, 1984, notes=FOLDED), "synthetic": False}
PLAIN, ONLY_EXAMINED = data(90_000, 90_000), data(2000, 0, esc50=FOLDED)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ([SYNTHETIC], "3,600 clips of synthetic sound (music, speech)"),
        ([NOTES], "1,984 clips of notes"),
        ([data(3600, 1800, music=SPLIT)], "3,600 clips of music"),  # an older plan
        ([PLAIN], "90,000 clips"),
        ([PLAIN, ONLY_EXAMINED], "90,000 clips, probed on 2,000 clips of esc50"),
        (
            [SYNTHETIC, NOTES],
            "3,600 clips of synthetic sound (music, speech) or 1,984 clips of notes",
        ),
        ([], ""),
    ],
)
def test_what_was_heard_is_told(described: list[dict[str, Any]], words: str) -> None:
    assert format_data_summary({"data": described}) == words


def test_clips_that_were_trained_and_tested_on_are_warned_of() -> None:
    [told] = warn_of_pretrained_test_clips({"data": [SYNTHETIC, NOTES, ONLY_EXAMINED]})
    assert told.startswith("Test clips were heard in pre-training, unlabelled: notes has folds, so")
    assert "on 1,984 of 1,984 clips" in told


@pytest.mark.parametrize("one", [SYNTHETIC, PLAIN, ONLY_EXAMINED])
def test_clips_that_are_only_tested_on_are_not_warned_of(one: dict[str, Any]) -> None:
    assert not [*warn_of_pretrained_test_clips({"data": [one]})]
