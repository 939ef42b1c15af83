"""Columns return what was stored, from memory and from disk."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.column_file import StringColumn, read_columns, write_columns

WORDS = st.text(max_size=3)
CLIPS = st.lists(
    st.builds(
        ClipInfo,
        path=st.sampled_from(["a.wav", "ä/b.wav", "c", "日本"]),
        label=WORDS,
        task=WORDS,
        split=st.sampled_from(["", "train", "test"]),
        fold=st.sampled_from(["", "1"]),
        extra=st.fixed_dictionaries({"speaker": WORDS}),
    ),
    max_size=12,
)


@given(st.lists(st.text()))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert list(StringColumn.from_texts(texts)) == texts


@given(CLIPS)
def test_a_table_of_clips_gives_back_every_row(rows: list[ClipInfo]) -> None:
    assert list(ClipTable.from_clips(rows)) == rows


@given(CLIPS)
def test_a_table_is_the_same_from_columns(rows: list[ClipInfo]) -> None:
    assert list(ClipTable.from_columns(*ClipTable.from_clips(rows).to_columns())) == rows


@given(CLIPS, st.data())
def test_some_rows_of_a_table_are_a_table(rows: list[ClipInfo], data: st.DataObject) -> None:
    places = data.draw(
        st.lists(st.sampled_from(range(len(rows))), unique=True) if rows else st.just([])
    )
    selected = ClipTable.from_clips(rows).take(np.array(places, dtype=np.int64))
    expected = ClipTable.from_clips([rows[place] for place in places])
    assert list(selected) == list(expected)
    assert selected.first_with_path.tolist() == expected.first_with_path.tolist()
    assert set(selected.labels.categories) == {clip.label for clip in expected}


@given(CLIPS)
def test_each_clip_refers_to_the_first_with_its_path(rows: list[ClipInfo]) -> None:
    paths = [clip.path for clip in rows]
    assert ClipTable.from_clips(rows).first_with_path.tolist() == [
        paths.index(path) for path in paths
    ]


def test_a_column_added_late_is_blank_before() -> None:
    rows = [ClipInfo("a", "x", "t"), ClipInfo("b", "x", "t", extra={"speaker": "ann"})]
    assert [clip.extra for clip in ClipTable.from_clips(rows)] == [
        {"speaker": ""},
        {"speaker": "ann"},
    ]


def test_rows_are_counted_from_both_ends_and_no_further() -> None:
    clips = ClipTable.from_clips([ClipInfo("a", "x", "t"), ClipInfo("b", "x", "t")])
    assert (clips[0].path, clips[-1].path) == ("a", "b")
    for index in (2, -3):
        with pytest.raises(IndexError, match="for 2 clips"):
            clips[index]


def test_columns_are_read_as_they_were_written(tmp_path: Path) -> None:
    columns = {
        "few": np.arange(5, dtype=np.int32),
        "none": np.zeros((0, 2)),
        "square": np.arange(6, dtype=np.uint64).reshape(3, 2),
        "flags": np.array([True, False]),
    }
    write_columns(tmp_path / "columns", {"name": "ä"}, columns)
    actual = read_columns(tmp_path / "columns")
    assert actual is not None
    facts, read = actual
    assert facts == {"name": "ä"}
    for name, column in columns.items():
        assert read[name].dtype == column.dtype
        assert np.array_equal(read[name], column)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_an_invalid_column_file_is_not_read(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "columns"
    write_columns(file, {}, {"few": np.arange(50)})
    content = file.read_bytes()
    changed = {"empty": b"", "cut": content[:-1], "other": b"x" + content[1:]}
    file.unlink()
    if damage in changed:
        file.write_bytes(changed[damage])
    assert read_columns(file) is None
