"""Folders that are no published dataset: what is a label, a split, a fold, or passed over."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.manifest_splits import SplitOptions, assign_splits, parse_shares
from ablate.audio.manifest_writer import ManifestResult, write_manifest
from ablate.audio.sources import Folder
from ablate.audio.splits import SPLIT_WORDS, SPLITS, find_split, format_unknown_split, parse_split
from tests.audio.test_dataset_layouts import create_files, write_table


def count(result: ManifestResult) -> Counter[str]:
    return Counter(clip.label for clip in Folder(manifest=str(result.path)).clips())


def test_labels_may_lie_below_other_folders(tmp_path: Path) -> None:
    create_files(tmp_path, *(f"Data/genres/{g}/{n}.wav" for g in ("a", "b") for n in range(3)))
    create_files(tmp_path, "Data/table.csv")
    result = write_manifest(tmp_path, "subfolder")
    assert count(result) == {"a": 3, "b": 3}
    assert "1 files are not audio (.csv)" in result.notes


def test_folders_of_folds_with_labels_below_are_folds(tmp_path: Path) -> None:
    create_files(tmp_path, *(f"x/fold{n}/{g}/1.wav" for g in ("a", "b") for n in range(1, 4)))
    result = write_manifest(tmp_path, "subfolder")
    clips = Folder(manifest=str(result.path)).clips()
    assert {(clip.label, clip.fold) for clip in clips} == {(g, f) for g in "ab" for f in "123"}


@pytest.mark.parametrize(
    "names",
    [
        [f"fold{n}/{n}.wav" for n in range(1, 11)],
        ["train/a.wav", "test/b.wav"],
        ["train/cat/a.wav", "test/cat/b.wav", "noise/cat/a.wav"],
    ],
)
def test_folds_and_splits_are_never_labels(tmp_path: Path, names: list[str]) -> None:
    create_files(tmp_path, *names)
    with pytest.raises(ValueError, match="named like splits or folds"):
        write_manifest(tmp_path, "subfolder")
    assert not (tmp_path / "manifest.csv").exists()


def test_splits_are_recognised_in_longer_names(tmp_path: Path) -> None:
    create_files(tmp_path, *(f"birds-{s}/{g}/1.wav" for s in ("train", "eval") for g in "ab"))
    result = write_manifest(tmp_path, "subfolder")
    clips = Folder(manifest=str(result.path)).clips()
    assert {(clip.label, clip.split) for clip in clips} == {
        (g, s) for g in "ab" for s in ("train", "test")
    }


def test_one_label_is_noted(tmp_path: Path) -> None:
    create_files(tmp_path, "audio/a.wav", "audio/b.wav")
    result = write_manifest(tmp_path, "subfolder")
    assert any("one label only, `audio`" in note for note in result.notes)


def test_a_published_dataset_is_recognised(tmp_path: Path) -> None:
    create_files(tmp_path, "audio/a.wav", "audio/b.wav")
    write_table(tmp_path / "meta/esc50.csv", "filename")
    with pytest.raises(ValueError, match="looks like `--layout esc50`"):
        write_manifest(tmp_path, "subfolder")


def test_whatever_is_passed_over_is_counted_by_cause(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "dog/a.WAVE", "cat/b.m4a", "cat/c.M4A", "dog/d.wma")
    create_files(tmp_path, "cat/notes.txt", "loose.wav", ".ipynb_checkpoints/a-checkpoint.wav")
    create_files(tmp_path, "cat/@eaDir/a.wav", "__MACOSX/cat/._a.wav", "dog/._a.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    result = write_manifest(tmp_path, "subfolder")
    assert count(result) == {"cat": 1, "dog": 1}
    notes = "\n".join(result.notes)
    assert "3 files 2 .m4a, 1 .wma are in a format that cannot be read" in notes
    assert "4 audio files are hidden or belong to the system" in notes
    assert "`.ipynb_checkpoints`, `@eaDir`, `__MACOSX`" in notes
    assert "1 files are not audio (.txt)" in notes
    assert "1 audio files lie in no subfolder" in notes
    assert "the link `gone.wav` has no target" in notes


def test_the_error_for_a_folder_without_readable_files_states_the_cause(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.m4a", "dog/b.m4a")
    with pytest.raises(ValueError, match=r"2 files \.m4a are in a format that cannot be read"):
        write_manifest(tmp_path, "subfolder")


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    create_files(tmp_path / "far", "saw/1.wav", "saw/2.wav")
    create_files(tmp_path / "near", "dog/1.wav")
    (tmp_path / "near/saw").symlink_to(tmp_path / "far/saw")
    (tmp_path / "near/dog/again").symlink_to(tmp_path / "near")
    (tmp_path / "near/dog/2.wav").symlink_to(tmp_path / "far/saw/1.wav")
    result = write_manifest(tmp_path / "near", "subfolder")
    assert count(result) == {"dog": 2, "saw": 2}
    assert "the link `dog/again` leads back to a folder above it" in result.notes


def test_a_flat_folder_is_labelled_by_its_names(tmp_path: Path) -> None:
    create_files(tmp_path, *(f"{d}_{s}_{n}.wav" for d in range(3) for s in "ab" for n in range(4)))
    create_files(tmp_path, "noise.wav")
    options = SplitOptions(group=r"_([a-z])_")
    result = write_manifest(tmp_path, "flat", options, label=r"^(\d)_")
    assert count(result) == {"0": 8, "1": 8, "2": 8}
    assert any("1 audio files do not match" in note for note in result.notes)
    clips = Folder(manifest=str(result.path)).clips()
    assert len({(clip.extra["group"], clip.split) for clip in clips}) == 2


def test_a_flat_folder_without_labels_can_be_trained_on(tmp_path: Path) -> None:
    create_files(tmp_path, "a.wav", "deep/b.wav")
    result = write_manifest(tmp_path, "flat")
    clips = Folder(manifest=str(result.path), label="").clips()
    assert {(clip.path, clip.split) for clip in clips} == {
        ("a.wav", "train"),
        ("deep/b.wav", "train"),
    }


def create_rows(number: int) -> list[dict[str, str]]:
    return [
        {"path": f"{'ab'[n % 2]}/s{n % 12}_{n}.wav", "label": "ab"[n % 2], "split": ""}
        for n in range(number)
    ]


def test_splits_can_be_named_in_paths(tmp_path: Path) -> None:
    create_files(
        tmp_path, *(f"{g}/{s}_{n}.wav" for g in "ab" for s in ("Train", "eval") for n in "12")
    )
    write_manifest(tmp_path, "subfolder", SplitOptions(split_by="/([A-Za-z]+)_"))
    clips = Folder(manifest=str(tmp_path / "manifest.csv")).clips()
    assert {(Path(c.path).name.split("_")[0], c.split) for c in clips} == {
        ("Train", "train"),
        ("eval", "test"),
    }


@given(
    shares=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)),
    seed=st.integers(-3, 3),
)
def test_shares_are_kept_and_seeds_differ(shares: tuple[int, int, int], seed: int) -> None:
    rows = create_rows(200)
    assign_splits(rows, SplitOptions(shares=shares, seed=seed))
    for label in "ab":
        splits = Counter(row["split"] for row in rows if row["label"] == label)
        for split, share in zip(("train", "valid", "test"), shares, strict=True):
            assert abs(splits[split] - 100 * share / sum(shares)) <= 1
    again = create_rows(200)
    assign_splits(again, SplitOptions(shares=shares, seed=seed + 1))
    assert again != rows


@given(folds=st.integers(2, 6), group=st.sampled_from([None, r"/(s\d+)_"]))
def test_folds_have_equal_sizes_and_keep_groups_together(folds: int, group: str | None) -> None:
    rows = create_rows(120)
    assign_splits(rows, SplitOptions(folds=folds, group=group))
    sizes = Counter((row["label"], row["fold"]) for row in rows)
    assert len(sizes) == 2 * folds
    limit = 1 if group is None else 10  # clips of a speaker
    assert max(sizes.values()) - min(sizes.values()) <= limit
    if group is not None:
        pairs = {(row["group"], row["fold"]) for row in rows}
        assert len(pairs) == 12
    assert not any("split" in row for row in rows)


@pytest.mark.parametrize("text", ["8:1", "a:b:c", "0:1:1", "8:2:0", "-1:1:1"])
def test_shares_that_do_not_train_and_test_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="8:1:1"):
        SplitOptions(shares=parse_shares(text))


@given(st.sampled_from(sorted(SPLIT_WORDS)), st.integers(0, 9))
def test_a_misspelt_split_never_becomes_another_one(word: str, place: int) -> None:
    misspelt = word[:place] + word[place + 1 :]
    if parse_split(misspelt):
        return
    message = format_unknown_split(misspelt)
    if "did you mean `" in message:
        suggestion = message.split("did you mean `")[1].split("`")[0]
        assert parse_split(suggestion) in SPLITS
        if len(word) > 4:
            assert parse_split(suggestion) == parse_split(word)


def test_a_name_with_two_splits_means_neither() -> None:
    assert find_split("test-of-training") == ""
