"""The data summary names the clips, and test clips used in pre-training are a caveat."""

from dataclasses import replace

import pytest

from ablate.core.records.plan import DataSummary, TaskSummary
from ablate.report.pages.caveats import warn_of_pretrained_test_clips
from ablate.report.pages.methods import format_data_summary
from tests.plans import COUNTS, make_data, make_plan

SPLIT = COUNTS
FOLDED = TaskSummary(classes=50, folds=5)


def data(clips: int, pretraining_clips: int, **tasks: TaskSummary) -> DataSummary:
    return make_data(clips=clips, pretraining_clips=pretraining_clips, tasks=tasks)


SYNTHETIC = replace(data(3600, 1800, music=SPLIT, speech=SPLIT), synthetic=True)
NOTES = data(1984, 1984, notes=FOLDED)
PLAIN, ONLY_EXAMINED = data(90_000, 90_000), data(2000, 0, esc50=FOLDED)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ([SYNTHETIC], "3,600 clips of synthetic sound (music, speech)"),
        ([NOTES], "1,984 clips of notes"),
        ([data(3600, 1800, music=SPLIT)], "3,600 clips of music"),
        ([PLAIN], "90,000 clips"),
        ([PLAIN, ONLY_EXAMINED], "90,000 clips, probed on 2,000 clips of esc50"),
        (
            [SYNTHETIC, NOTES],
            "3,600 clips of synthetic sound (music, speech) or 1,984 clips of notes",
        ),
        ([], ""),
    ],
)
def test_the_data_summary_counts_clips_and_names_tasks(
    described: list[DataSummary], words: str
) -> None:
    assert format_data_summary(make_plan(data=tuple(described))) == words


def test_test_clips_used_in_pretraining_are_a_caveat() -> None:
    [caveat] = warn_of_pretrained_test_clips(make_plan(data=(SYNTHETIC, NOTES, ONLY_EXAMINED)))
    assert caveat.startswith(
        "Test clips were used, unlabelled, in pre-training: notes has folds, so"
    )
    assert "on 1,984 of 1,984 clips" in caveat


@pytest.mark.parametrize("one", [SYNTHETIC, PLAIN, ONLY_EXAMINED])
def test_test_clips_not_used_in_pretraining_are_no_caveat(one: DataSummary) -> None:
    assert not [*warn_of_pretrained_test_clips(make_plan(data=(one,)))]
