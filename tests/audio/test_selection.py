"""The same sound in two splits, and classes that no probe can learn, are named or left out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.labels import check_labels, find_class_problems
from ablate.audio.mel import LogMel
from ablate.audio.selection import drop_duplicates, drop_rare_classes, find_duplicates
from ablate.audio.sources import Folder
from ablate.audio.store import ClipStore, open_store
from tests.audio.sounds import create_tone, write_clip

SPLITS = ("train", "valid", "test")


def create_clips(parts: list[tuple[str, str]], *, fold: bool = False) -> ClipTable:
    """Builds a table from (label, split or fold) of each clip."""
    return ClipTable.from_clips(
        ClipInfo(f"{n}.wav", label, "task", **{"fold" if fold else "split": part})
        for n, (label, part) in enumerate(parts)
    )


def write_corpus(folder: Path) -> Path:
    """Writes 12 clips of two labels; two test clips and a valid clip copy training clips."""
    rows = ["path,label,split"]
    for n in range(12):
        split = "train" if n < 6 else "valid" if n < 8 else "test"
        seed = {8: 0, 9: 1, 6: 1}.get(n, n)
        write_clip(folder, f"{n}.wav", create_tone(0.3, hertz=300 + 100 * (seed % 2), seed=seed))
        rows.append(f"{n}.wav,{'ab'[n % 2]},{split}")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")
    return folder / "m.csv"


def open_corpus(folder: Path, **settings: str) -> ClipStore:
    source = Folder(manifest=str(write_corpus(folder)), **settings)  # type: ignore[arg-type]
    return open_store(source, LogMel(), folder / "cache")


def test_duplicates_are_counted_and_named(tmp_path: Path) -> None:
    store = open_corpus(tmp_path)
    [note] = store.notes
    assert "5 clips are duplicates of one sound in two splits" in note
    assert "`0.wav` (train) = `8.wav` (test)" in note
    assert len(store.clips) == 12


def test_dropped_duplicates_stay_in_the_test_split(tmp_path: Path) -> None:
    store = open_corpus(tmp_path, duplicates="drop")
    assert {path for path, _ in store.skipped} == {"0.wav", "1.wav", "6.wav"}
    assert all("is the same sound as" in reason for _, reason in store.skipped)
    assert "3 of them were dropped" in store.notes[0]
    again = open_corpus(tmp_path, duplicates="drop")
    assert again.digest == store.digest
    assert again.notes == store.notes


def test_duplicates_are_an_error_with_duplicates_set_to_refuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"5 clips are duplicates.*`duplicates: drop`"):
        open_corpus(tmp_path, duplicates="refuse")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(SPLITS)), min_size=1, max_size=20),
)
def test_after_dropping_no_sound_is_in_two_splits(clips: list[tuple[int, str]]) -> None:
    table = create_clips([("a", split) for _, split in clips])
    digests = np.array([str(sound).encode() for sound, _ in clips], dtype="S64")
    groups = find_duplicates(table, digests)
    selection = drop_duplicates(table, groups)
    kept = digests[selection.kept]
    by_sound = {sound: {*selection.clips.splits.codes[kept == sound]} for sound in set(kept)}
    assert all(len(splits) == 1 for splits in by_sound.values())
    assert set(kept) == set(digests)
    assert len(selection.skipped) + len(kept) == len(clips)
    assert not find_duplicates(selection.clips, kept)


def test_a_sound_in_two_folds_is_a_duplicate() -> None:
    table = create_clips([("a", "1"), ("b", "1"), ("a", "2")], fold=True)
    [group] = find_duplicates(table, np.array([b"x", b"y", b"x"], dtype="S64"))
    assert group.tolist() == [0, 2]
    assert not find_duplicates(table, np.array([b"x", b"x", b"y"], dtype="S64"))


def test_a_file_in_two_tasks_is_no_duplicate() -> None:
    clips = [ClipInfo("a.wav", "x", task, split="train") for task in ("one", "two")]
    assert not find_duplicates(ClipTable.from_clips(clips), np.array([b"x", b"x"], dtype="S64"))


def test_a_recording_with_segments_in_two_splits_is_named(tmp_path: Path) -> None:
    rows = ["path,start,end,label,split"]
    for n in range(12):
        write_clip(tmp_path, f"{n}.wav", create_tone(0.6, hertz=300 + 100 * (n % 2), seed=n))
        split = SPLITS[n % 3]
        rows += [f"{n}.wav,0,0.3,{'ab'[n % 2]},{split}"]
    rows += ["3.wav,0.3,0.6,b,test", "4.wav,0.3,0.6,a,valid"]  # 3 is in train, 4 in valid
    (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
    store = open_store(Folder(manifest=str(tmp_path / "m.csv")), LogMel(), tmp_path / "cache")
    [note] = store.notes
    assert "1 files have segments in two splits: `3.wav`" in note


def test_classes_without_training_clips_are_dropped_and_counted() -> None:
    table = create_clips(
        [
            *[("a", "train"), ("b", "train"), ("a;b", "test"), ("a", "test"), ("b", "test")],
            *[("b;rare", "test"), ("rare", "test"), ("once", "train")],
        ]
    )
    selection = drop_rare_classes(table)
    check_labels(selection.clips)
    assert [clip.label for clip in selection.clips] == ["a", "b", "a;b", "a", "b", "b"]
    assert [path for path, _ in selection.skipped] == ["6.wav", "7.wav"]
    assert any("`rare` of task `task` has no clip with split `train`" in n for n in selection.notes)
    assert any("dropped from 2 clips" in note for note in selection.notes)


def test_rare_events_are_dropped_with_their_times() -> None:
    cells = ["a@0-1;b@1-2", "b@0-1", "a@0-1;rare@0-1", "a@0.5-1"]
    table = create_clips(list(zip(cells, ("train", "train", "test", "test"), strict=True)))
    labels = [clip.label for clip in drop_rare_classes(table).clips]
    assert labels == ["a@0-1;b@1-2", "b@0-1", "a@0-1", "a@0.5-1"]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True).map(";".join),
            st.sampled_from(SPLITS),
        ),
        min_size=1,
        max_size=15,
    )
)
def test_after_dropping_every_class_can_be_learnt(parts: list[tuple[str, str]]) -> None:
    table = create_clips(parts)
    selection = drop_rare_classes(table)
    assert not find_class_problems(selection.clips)
    assert len(selection.clips) + len(selection.skipped) == len(table)
    for place, clip in zip(selection.kept.tolist(), selection.clips, strict=True):
        assert set(clip.label.split(";")) <= set(table[place].label.split(";"))


def test_a_rare_class_is_an_error_unless_it_is_dropped(tmp_path: Path) -> None:
    manifest = write_corpus(tmp_path)
    manifest.write_text(manifest.read_text().replace("11.wav,b", "11.wav,c"))
    with pytest.raises(ValueError, match="`on_rare_class: drop`"):
        open_store(Folder(manifest=str(manifest)), LogMel(), tmp_path / "cache")
    source = Folder(manifest=str(manifest), on_rare_class="drop")
    store = open_store(source, LogMel(), tmp_path / "cache")
    assert [path for path, _ in store.skipped] == ["11.wav"]
    assert len(store.clips) == 11
