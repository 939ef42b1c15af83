"""Clips are split by expressions for the paths of test and validation clips."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.manifest_splits import Row, SplitOptions, assign_splits


def make_rows(numbers: list[int]) -> list[Row]:
    return [{"path": f"7_george_{number}.wav", "label": "7", "split": ""} for number in numbers]


@given(st.sets(st.integers(0, 49), max_size=20))
def test_clips_that_no_expression_matches_train(numbers: set[int]) -> None:
    rows = make_rows(sorted({0, 5, 10} | numbers))
    assert assign_splits(rows, SplitOptions(test=r"_[0-4]\.wav$", valid=r"_[5-9]\.wav$")) == ""
    for row in rows:
        number = int(re.findall(r"\d+", row["path"])[1])
        wanted = "test" if number < 5 else "valid" if number < 10 else "train"
        assert row["split"] == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "_x"}, "`test` '_x' matches no path"),
        ({"test": "george"}, "none is left"),
        ({"test": "_0", "valid": "0.wav"}, "`test` and `valid` both match `7_george_0.wav`"),
        ({"valid": "_0"}, "`valid` needs `test`"),
        ({"test": ""}, "`test` is empty, which matches every path"),
        ({"test": "_0", "valid": ""}, "`valid` is empty, which matches every path"),
        ({"test": "_0", "seed": 1}, "leave `shares` and `seed` out"),
        ({"test": "_0", "folds": 3}, "`test` excludes `group`, `split_by` and `folds`"),
        ({"test": "["}, "is not a regular expression"),
        ({"split_by": r"_([0-4])\.wav"}, "`--test REGEX` matches only test clips"),
    ],
)
def test_expressions_that_split_nothing_are_rejected(
    options: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        assign_splits(make_rows([0, 5, 10]), SplitOptions(**options))
