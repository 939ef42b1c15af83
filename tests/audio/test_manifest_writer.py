"""Manifests of well-known datasets are written from their folder layouts."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.audio.annotations import infer_label_kind
from ablate.audio.clips import ClipInfo
from ablate.audio.dataset_layouts import DATASETS
from ablate.audio.manifest_splits import SplitOptions
from ablate.audio.manifest_writer import write_manifest
from ablate.audio.sources import Folder


def create_files(folder: Path, *names: str) -> None:
    """Creates empty files; a manifest is written without decoding them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(folder: Path, layout: str) -> dict[str, ClipInfo]:
    manifest = write_manifest(folder, layout).path
    return {clip.path: clip for clip in Folder(manifest=str(manifest)).clips()}


def get_labels_and_splits(clips: dict[str, ClipInfo]) -> dict[str, tuple[str, str]]:
    return {path: (clip.label, clip.split) for path, clip in clips.items()}


def test_subfolders_are_labels(tmp_path: Path) -> None:
    create_files(tmp_path, *(f"{label}/{n}.flac" for label in ("cat", "dog") for n in range(20)))
    create_files(tmp_path, "README.md", "loose.wav")
    clips = listed(tmp_path, "subfolder")
    counts = Counter((clip.label, clip.split) for clip in clips.values())
    assert counts == {
        (label, split): number
        for label in ("cat", "dog")
        for split, number in (("train", 12), ("valid", 4), ("test", 4))
    }


def test_hidden_files_are_ignored(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "cat/._a.wav", "cat/b.wav", "cat/.c.wav")
    assert set(listed(tmp_path, "subfolder")) == {"cat/a.wav", "cat/b.wav"}


def test_three_clips_of_a_label_reach_every_split(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "cat/b.wav", "cat/c.wav")
    splits = {clip.split for clip in listed(tmp_path, "subfolder").values()}
    assert splits == {"train", "valid", "test"}


def test_two_clips_of_a_label_can_be_trained_and_tested_on(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "cat/b.wav")
    splits = {clip.split for clip in listed(tmp_path, "subfolder").values()}
    assert splits == {"train", "test"}


def test_a_split_does_not_depend_on_other_labels(tmp_path: Path) -> None:
    create_files(tmp_path / "one", *(f"cat/{n}.wav" for n in range(9)))
    create_files(tmp_path / "two", *(f"cat/{n}.wav" for n in range(9)), "ape/1.wav")
    one, two = (
        get_labels_and_splits(listed(tmp_path / place, "subfolder")) for place in ("one", "two")
    )
    assert one.items() <= two.items()


def test_split_folders_are_splits(tmp_path: Path) -> None:
    create_files(
        tmp_path, "train/cat/a.wav", "val/cat/b.wav", "Test/cat/deep/c.ogg", "train/loose.wav"
    )
    create_files(tmp_path, "eval/cat/d.wav")
    assert get_labels_and_splits(listed(tmp_path, "subfolder")) == {
        "train/cat/a.wav": ("cat", "train"),
        "val/cat/b.wav": ("cat", "valid"),
        "Test/cat/deep/c.ogg": ("cat", "test"),
        "eval/cat/d.wav": ("cat", "test"),
    }


def test_a_folder_beside_splits_is_rejected_by_name(tmp_path: Path) -> None:
    create_files(
        tmp_path, *(f"{split}/{label}/a.wav" for split in ("train", "test") for label in "xy")
    )
    create_files(tmp_path, "noise/a.wav", "loose.wav")
    with pytest.raises(ValueError, match=r"`noise` beside `test`, `train`.* rename"):
        write_manifest(tmp_path, "subfolder")
    assert not (tmp_path / "manifest.csv").exists()


def test_a_loose_file_beside_splits_is_ignored(tmp_path: Path) -> None:
    create_files(tmp_path, "train/cat/a.wav", "test/cat/b.wav", "loose.wav")
    assert set(get_labels_and_splits(listed(tmp_path, "subfolder")).values()) == {
        ("cat", "train"),
        ("cat", "test"),
    }


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["cat", "dog", "ape"]), st.integers(0, 7), st.integers(0, 4)),
        st.none(),
    ).filter(lambda names: len({speaker for _, speaker, _ in names}) > 1)
)
def test_a_group_is_in_one_split(names: dict[tuple[str, int, int], None]) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place)
        create_files(folder, *(f"{label}/s{speaker}_{take}.wav" for label, speaker, take in names))
        manifest, warning, _ = write_manifest(folder, "subfolder", SplitOptions(group=r"/(s\d+)_"))
        clips = Folder(manifest=str(manifest)).clips()
    assert not warning
    splits = {(Path(clip.path).name.split("_")[0], clip.split) for clip in clips}
    assert len(splits) == len({speaker for _, speaker, _ in names})


def test_groups_of_equal_size_are_split_six_to_two_to_two_per_label(tmp_path: Path) -> None:
    names = (f"{label}/s{speaker}_0.wav" for label in ("cat", "dog") for speaker in range(20))
    create_files(tmp_path, *names)
    manifest = write_manifest(tmp_path, "subfolder", SplitOptions(group=r"s\d+")).path
    clips = Folder(manifest=str(manifest)).clips()
    counts = Counter((clip.label, clip.split) for clip in clips)
    assert counts == {
        (label, split): number
        for label in ("cat", "dog")
        for split, number in (("train", 12), ("valid", 4), ("test", 4))
    }


def test_splitting_by_file_warns_and_existing_splits_do_not(
    tmp_path: Path,
) -> None:
    create_files(tmp_path, "dealt/cat/a.wav", "there/train/cat/a.wav", "there/test/cat/b.wav")
    assert "`--group`" in write_manifest(tmp_path / "dealt", "subfolder").warning
    assert write_manifest(tmp_path / "there", "subfolder").warning == ""


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("(", "is not a regular expression"),
        (r"s\d", r"matches nothing in `cat/a\.wav`; widen it"),
        (r"cat/(s)?", r"matches nothing in `cat/a\.wav`; widen it"),
        (r"cat", "matches `cat` in every path, so no clip would be left to test on"),
    ],
)
def test_a_group_that_does_not_separate_clips_is_rejected(
    tmp_path: Path, group: str, message: str
) -> None:
    create_files(tmp_path, "cat/a.wav", "cat/b.wav")
    with pytest.raises(ValueError, match=message):
        write_manifest(tmp_path, "subfolder", SplitOptions(group=group))


def test_a_group_is_rejected_if_the_dataset_has_splits(tmp_path: Path) -> None:
    create_files(tmp_path, "train/cat/a.wav", "test/cat/b.wav")
    with pytest.raises(ValueError, match=r"has splits of its own; leave `group`, .* out"):
        write_manifest(tmp_path, "subfolder", SplitOptions(group="cat"))


def test_esc50_has_five_folds(tmp_path: Path) -> None:
    create_files(tmp_path, "meta/esc50.csv")
    (tmp_path / "meta/esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
    )
    clip = listed(tmp_path, "esc50")["audio/1-100032-A-0.wav"]
    assert (clip.label, clip.fold, clip.split, clip.extra) == ("dog", "1", "", {"esc10": "True"})


def test_speech_commands_has_two_lists_and_background_noise(tmp_path: Path) -> None:
    create_files(tmp_path, "yes/a.wav", "yes/b.wav", "no/c.wav", "_background_noise_/hum.wav")
    (tmp_path / "validation_list.txt").write_text("yes/b.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/c.wav\n")
    assert get_labels_and_splits(listed(tmp_path, "speech_commands")) == {
        "yes/a.wav": ("yes", "train"),
        "yes/b.wav": ("yes", "valid"),
        "no/c.wav": ("no", "test"),
    }


def test_fsd50k_has_several_labels_per_clip_and_a_column_of_the_most_specific(
    tmp_path: Path,
) -> None:
    truth = tmp_path / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Electric_guitar,Guitar,Music","/m/1,/m/2",train\n'
        "16399,Bark,/m/3,val\n"
    )
    (truth / "eval.csv").write_text('fname,labels,mids\n37199,"Bark,Dog","/m/3,/m/4"\n')
    clips = listed(tmp_path, "fsd50k")
    assert get_labels_and_splits(clips) == {
        "FSD50K.dev_audio/64760.wav": ("Electric_guitar;Guitar;Music", "train"),
        "FSD50K.dev_audio/16399.wav": ("Bark", "valid"),
        "FSD50K.eval_audio/37199.wav": ("Bark;Dog", "test"),
    }
    first = clips["FSD50K.dev_audio/64760.wav"]
    assert first.extra == {"first_label": "Electric_guitar"}
    assert infer_label_kind(clip.label for clip in clips.values()) == "multi"


def test_audioset_lists_the_existing_clips(tmp_path: Path) -> None:
    (tmp_path / "class_labels_indices.csv").write_text(
        'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/t/dd00088,"Gush, spray"\n'
    )
    header = "# Segments csv\n# num_ytids=3\n# YTID, start_seconds, end_seconds, positive_labels\n"
    (tmp_path / "balanced_train_segments.csv").write_text(
        f'{header}--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"\n'
        'gone_000000, 0.000, 10.000, "/m/09x0r"\n'
    )
    (tmp_path / "eval_segments.csv").write_text(
        f'{header}-0SdAVK79lg, 20.000, 30.000, "/t/dd00088"\n'
    )
    create_files(
        tmp_path, "train/Y--PJHxphWEs.flac", "eval/-0SdAVK79lg_20000.wav", "eval/other.wav"
    )
    clips = listed(tmp_path, "audioset")
    assert get_labels_and_splits(clips) == {
        "train/Y--PJHxphWEs.flac": ("Speech;Gush, spray", "train"),
        "eval/-0SdAVK79lg_20000.wav": ("Gush, spray", "test"),
    }
    assert clips["train/Y--PJHxphWEs.flac"].extra == {"first_label": "Speech"}


def test_an_unknown_layout_is_rejected_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown layout `esc_50` \(did you mean `esc50`\?\)"):
        write_manifest(tmp_path, "esc_50")


@pytest.mark.parametrize("layout", sorted(DATASETS))
def test_a_folder_in_another_layout_is_rejected_with_what_it_looks_like(
    tmp_path: Path, layout: str
) -> None:
    create_files(tmp_path, "cat/a.wav")
    with pytest.raises(ValueError, match=r"audio file in the layout|is missing") as error:
        write_manifest(tmp_path, layout)
    assert DATASETS[layout].tree in str(error.value)


def test_a_folder_without_sounds_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no audio file"):
        write_manifest(tmp_path, "subfolder")


def test_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`.*gone` is not a folder"):
        write_manifest(tmp_path / "gone", "subfolder")


def test_a_manifest_is_never_overwritten(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "cat/b.wav", "manifest.csv")
    with pytest.raises(ValueError, match=r"manifest\.csv` already exists; delete or rename it"):
        write_manifest(tmp_path, "subfolder")


def test_a_folder_may_have_several_manifests(tmp_path: Path) -> None:
    create_files(tmp_path, "cat/a.wav", "dog/b.wav", "manifest.csv")
    written = write_manifest(tmp_path, "subfolder", name="other.csv").path
    assert written == tmp_path / "other.csv"
    assert "cat/a.wav" in written.read_text()
    with pytest.raises(ValueError, match="`name` must be that of a CSV file in the folder"):
        write_manifest(tmp_path, "subfolder", name="../other.csv")


def test_writing_a_manifest_needs_no_torch() -> None:
    code = "import sys, ablate.audio.manifest_writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
