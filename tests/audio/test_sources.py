"""Folder sources read any format and report all problems of a manifest at once."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.sources import Folder
from ablate.parts import build, resolve

Rows = list[dict[str, str]]
Write = Callable[[Path, Rows], Path]
Tones = Callable[..., Folder]


@pytest.fixture
def folder_of(tmp_path: Path, write_rows: Write) -> Callable[[Rows], Folder]:
    def make(rows: Rows) -> Folder:
        return Folder(manifest=str(write_rows(tmp_path / "manifest.csv", rows)))

    return make


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "FLOAT"),
        ("a.flac", "PCM_16"),
        ("a.ogg", "VORBIS"),
        ("a.mp3", "MPEG_LAYER_III"),
    ],
)
@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_clip_is_read_as_it_was_written(
    tmp_path: Path, write_rows: Write, name: str, subtype: str, rate: int, channels: int
) -> None:
    sound = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
    soundfile.write(tmp_path / name, np.stack([sound] * channels, axis=1), rate, subtype=subtype)
    manifest = write_rows(tmp_path / "m.csv", [{"path": name, "label": "x", "split": "train"}])
    samples, actual_rate = Folder(manifest=str(manifest)).read(0)
    assert (str(samples.dtype), samples.ndim, actual_rate) == ("float32", 1, rate)
    length = min(len(samples), len(sound))
    assert length >= 0.95 * len(sound)
    assert abs(np.corrcoef(samples[:length], sound[:length])[0, 1]) > 0.99


def test_channels_are_averaged(tmp_path: Path, write_rows: Write) -> None:
    both = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, 16000)
    manifest = write_rows(tmp_path / "m.csv", [{"path": "a.wav", "label": "x", "split": "train"}])
    assert Folder(manifest=str(manifest)).read(0)[0] == pytest.approx(0.125, abs=1e-3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("val", "valid"), ("validation", "valid"), ("dev", "valid"), ("Test", "test")],
)
def test_splits_have_several_spellings(
    folder_of: Callable[[Rows], Folder], written: str, meant: str
) -> None:
    rows = [{"path": "a.wav", "label": "x", "split": written}]
    assert folder_of(rows).clips()[0].split == meant


def test_the_task_is_named_after_the_folder_by_default(tones: Tones) -> None:
    assert {clip.task for clip in tones().clips()} == {"tones"}
    assert {clip.task for clip in tones(task="pitch").clips()} == {"pitch"}


def test_a_task_column_makes_several_tasks(folder_of: Callable[[Rows], Folder]) -> None:
    rows = [
        {"path": "a.wav", "label": "x", "split": "train", "task": "one"},
        {"path": "a.wav", "label": "y", "split": "train", "task": "two"},
    ]
    assert [clip.task for clip in folder_of(rows).clips()] == ["one", "two"]


def test_other_columns_are_kept(folder_of: Callable[[Rows], Folder]) -> None:
    rows = [{"path": "a.wav", "label": "x", "fold": "1", "speaker": "ann"}]
    assert folder_of(rows).clips()[0].extra == {"speaker": "ann"}


def test_absolute_paths_become_relative(
    folder_of: Callable[[Rows], Folder], tmp_path: Path
) -> None:
    rows = [{"path": str(tmp_path / "sub" / "a.wav"), "label": "x", "split": "train"}]
    assert folder_of(rows).clips()[0].path == "sub/a.wav"


def test_a_folder_is_a_part_like_any_other(tones: Tones) -> None:
    folder = tones(on_bad_audio="skip")
    assert build(resolve(folder), expect=Folder) == folder


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"path": "a.wav", "label": "x", "split": "trian"},
            r":2: .*`trian` \(did you mean `train`",
        ),
        ({"path": "a.wav", "label": "", "split": "train"}, ":2: the label is empty"),
        ({"path": "", "label": "x", "split": "train"}, ":2: the cell `path` is empty"),
        ({"path": "a.wav", "label": "x", "split": ""}, ":2: has neither a split nor a fold"),
        (
            {"path": "a.wav", "label": "x", "split": "train", "fold": "2"},
            "split `train` and fold `2`",
        ),
        (
            {"path": "a.wav", "lable": "x", "split": "train"},
            r"no column `label` \(did you mean `lable`",
        ),
        ({"file": "a.wav", "label": "x", "split": "train"}, "no column `path`"),
        ({"path": "a.wav", "label": "x"}, "neither a column `split` nor `fold`"),
    ],
)
def test_an_invalid_row_is_named(
    folder_of: Callable[[Rows], Folder], row: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        folder_of([row]).clips()


@pytest.mark.parametrize("label", ["path", "split", "fold"])
def test_a_reserved_column_cannot_be_the_label(
    tmp_path: Path, write_rows: Write, label: str
) -> None:
    row = {"path": "a.wav", "label": "x", "split": "train", "fold": ""}
    manifest = write_rows(tmp_path / "m.csv", [row])
    message = (
        rf"m.csv`: the column `{label}` .*reserved and cannot hold labels; copy it .* set `label`"
    )
    with pytest.raises(ValueError, match=message):
        Folder(manifest=str(manifest), label=label).clips()


def test_five_invalid_rows_are_named_and_the_others_counted(
    folder_of: Callable[[Rows], Folder],
) -> None:
    rows = [{"path": f"{number}.wav", "label": "", "split": "train"} for number in range(8)]
    with pytest.raises(ValueError, match=r":6: [^:]*\n\.\.\. and 3 more$"):
        folder_of(rows).clips()


def test_a_clip_listed_twice_is_rejected(folder_of: Callable[[Rows], Folder]) -> None:
    row = {"path": "a.wav", "label": "x", "split": "train"}
    with pytest.raises(ValueError, match=r"lists `a.wav` more than once"):
        folder_of([row, row]).clips()


def test_paths_are_normalised(
    folder_of: Callable[[Rows], Folder],
) -> None:
    rows = [{"path": path, "label": "x", "split": "train"} for path in ("a/b.wav", "./a//b.wav")]
    with pytest.raises(ValueError, match=r"lists `a/b.wav` more than once"):
        folder_of(rows).clips()


@pytest.mark.parametrize("task", ["a/b", "a\\b", "..", ".hidden", "/abs"])
def test_a_task_name_that_is_no_folder_name_is_rejected(
    folder_of: Callable[[Rows], Folder], task: str
) -> None:
    rows = [{"path": "a.wav", "label": "x", "split": "train", "task": task}]
    message = (
        rf"manifest.csv`: task `{re.escape(task)}` is not usable as a folder name.*column `task`"
    )
    with pytest.raises(ValueError, match=message):
        folder_of(rows).clips()
    with pytest.raises(
        ValueError,
        match=rf"task `{re.escape(task)}` is not usable as a folder name.*setting `task`",
    ):
        Folder(manifest="manifest.csv", task=task)


def test_a_hidden_folder_is_no_task_name(tones: Tones, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"task `.tones` is not usable"):
        tones(tmp_path / ".tones").clips()
    assert {clip.task for clip in tones(tmp_path / ".tones", task="pitch").clips()} == {"pitch"}


def test_a_comma_in_a_label_is_explained(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,split\na.wav,dog, barking,train\n")
    with pytest.raises(ValueError, match="more cells than the header"):
        Folder(manifest=str(tmp_path / "m.csv")).clips()


def test_a_manifest_without_lines_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,split\n")
    with pytest.raises(ValueError, match="lists no clip"):
        Folder(manifest=str(tmp_path / "m.csv")).clips()


def test_an_empty_manifest_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("")
    with pytest.raises(ValueError, match="no column `path`"):
        Folder(manifest=str(tmp_path / "m.csv")).clips()


def test_a_binary_manifest_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(b"path,label\n\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a CSV file in UTF-8"):
        Folder(manifest=str(tmp_path / "m.csv")).clips()


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no manifest at .*gone\.csv"):
        Folder(manifest=str(tmp_path / "gone.csv")).clips()


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,split\na.wav,x,train\n", encoding="utf-8-sig")
    assert Folder(manifest=str(tmp_path / "m.csv")).clips()[0].path == "a.wav"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "cannot be decoded"), (b"RIFF no sound at all", "cannot be decoded")],
)
def test_a_broken_file_is_named(tones: Tones, content: bytes, reason: str) -> None:
    folder = tones()
    (Path(folder.manifest).parent / "low0.wav").write_bytes(content)
    with pytest.raises(BadAudioError, match=rf"`low0.wav`: {reason}") as message:
        folder.read(0)
    assert str(Path(folder.manifest).parent) not in str(message.value)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0, np.float32), "has no samples"),
        (np.array([0, np.nan], np.float32), "not finite"),
        (np.array([0, np.inf], np.float32), "not finite"),
    ],
)
def test_unusable_samples_are_named(tones: Tones, samples: np.ndarray, reason: str) -> None:
    folder = tones()
    soundfile.write(Path(folder.manifest).parent / "low0.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(BadAudioError, match=reason):
        folder.read(0)


def test_a_truncated_file_is_named(tones: Tones) -> None:
    folder = tones()
    file = Path(folder.manifest).parent / "low0.wav"
    sound = np.random.default_rng(0).uniform(-1, 1, 48000)
    soundfile.write(file, sound, 16000, format="FLAC")
    file.write_bytes(file.read_bytes()[:40000])
    with pytest.raises(BadAudioError, match=r"low0.wav"):
        folder.read(0)


def test_a_content_digest_depends_on_audio_and_not_on_location(
    tones: Tones, tmp_path: Path
) -> None:
    here, elsewhere = tones(), tones(tmp_path / "elsewhere")
    digests = [here.content_digest(index) for index in range(6)]
    assert len(set(digests)) == 6
    assert digests == [elsewhere.content_digest(index) for index in range(6)]
