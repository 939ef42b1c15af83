"""Samples of tar shards are clips, and all their problems are reported at once."""

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import ClipStore, open_store
from ablate.audio.tar_shards import TarShards
from ablate.parts import build, get_identity, resolve

TarMembers = Sequence[tuple[str, bytes]]
Pitch = Callable[..., TarShards]  # writes shards and makes a source of them


def sound(hertz: float, kind: str = "FLAC", rate: int = 16000) -> bytes:
    file = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate)
    soundfile.write(file, wave, rate, format=kind)
    return file.getvalue()


def encode_label(label: Any, **more: Any) -> bytes:
    return json.dumps({"label": label, **more}).encode()


def write_tar(file: Path, members: TarMembers) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file


def samples(first: int, number: int = 4) -> list[tuple[str, bytes]]:
    """Low and high tones, alternating."""
    return [
        member
        for index in range(first, first + number)
        for label, hertz in [(("low", 220.0), ("high", 880.0))[index % 2]]
        for member in [
            (f"{index:03d}.flac", sound(hertz + index)),
            (f"{index:03d}.json", encode_label(label)),
        ]
    ]


@pytest.fixture
def pitch(tmp_path: Path) -> Pitch:
    """Writes shards, the training one with the given members, and returns their source."""

    def make(train: TarMembers = (), **settings: Any) -> TarShards:
        folder = tmp_path / "pitch"
        write_tar(folder / "train-000.tar", train or samples(0))
        write_tar(folder / "test-000.tar", samples(10))
        return TarShards(shards=str(folder / "*.tar"), **settings)

    return make


def listed(source: TarShards) -> list[tuple[str, str, str, str, str]]:
    return [(c.path, c.label, c.task, c.split, c.fold) for c in source.clips()]


def test_samples_are_listed_by_shard_with_label_task_and_split(pitch: Pitch) -> None:
    actual = listed(pitch())
    assert actual[0] == ("test-000.tar/010.flac", "low", "pitch", "test", "")
    assert actual[4:6] == [
        ("train-000.tar/000.flac", "low", "pitch", "train", ""),
        ("train-000.tar/001.flac", "high", "pitch", "train", ""),
    ]
    assert len(actual) == 8


def test_shards_and_a_folder_of_the_same_sounds_hold_the_same(pitch: Pitch, tmp_path: Path) -> None:
    source = pitch()
    rows = ["path,label,split"]
    for clip in source.clips():
        rows.append(f"{clip.path},{clip.label},{clip.split}")
    for first, shard in ((0, "train-000.tar"), (10, "test-000.tar")):
        for name, content in samples(first):
            if name.endswith(".flac"):
                (tmp_path / "files" / shard).mkdir(parents=True, exist_ok=True)
                (tmp_path / "files" / shard / name).write_bytes(content)
    (tmp_path / "files" / "manifest.csv").write_text("\n".join(rows))
    folder = Folder(manifest=str(tmp_path / "files" / "manifest.csv"), task="pitch")
    ours, theirs = (open_store(each, LogMel(), tmp_path / "cache") for each in (source, folder))
    assert ours.digest == theirs.digest
    assert all(np.array_equal(ours.frames(index), theirs.frames(index)) for index in range(8))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_audio_of_any_format_is_read_at_its_offset(pitch: Pitch, kind: str) -> None:
    members = [(f"a.{kind.lower()}", sound(500, kind)), ("a.json", encode_label("low"))]
    source = pitch([*samples(0), *members, *samples(4)])
    index = [clip.path for clip in source.clips()].index(f"train-000.tar/a.{kind.lower()}")
    samples_read, rate = source.read(index)
    assert rate == 16000
    spectrum = np.abs(np.fft.rfft(samples_read[:4000]))
    assert abs(int(spectrum.argmax()) * rate / min(4000, len(samples_read)) - 500) < 20


def test_the_split_may_be_a_key_of_the_json(tmp_path: Path) -> None:
    members = [
        member
        for index, part in enumerate(["train", "val", "eval"])
        for member in [
            (f"{index}.wav", sound(200, "WAV")),
            (f"{index}.json", encode_label("x", part=part)),
        ]
    ]
    write_tar(tmp_path / "all.tar", members)
    source = TarShards(shards=str(tmp_path / "all.tar"), split="part")
    assert [clip.split for clip in source.clips()] == ["train", "valid", "test"]


@pytest.mark.parametrize(("value", "label"), [(7, "7"), ("ä b", "ä b"), (["a", "b"], "a;b")])
def test_labels_may_be_texts_numbers_or_lists(pitch: Pitch, value: Any, label: str) -> None:
    source = pitch([("a.flac", sound(200)), ("a.json", encode_label(value))])
    assert listed(source)[-1][1] == label


BAD = [
    ("lone.flac", sound(200)),
    ("empty.flac", b""),
    ("empty.json", encode_label("low")),
    ("mute.json", encode_label("low")),
    ("odd.flac", sound(200)),
    ("odd.json", b"{"),
    ("list.flac", sound(200)),
    ("list.json", b"[1]"),
    ("none.flac", sound(200)),
    ("none.json", json.dumps({"lable": "low"}).encode()),
    ("null.flac", sound(200)),
    ("null.json", encode_label(None)),
    ("two.flac", sound(200)),
    ("two.wav", sound(200, "WAV")),
    ("two.json", encode_label("low")),
]
REASONS = {
    "lone": "has no JSON file",
    "empty": "is empty, 0 bytes",
    "mute": "has no audio files; a sample must have one",
    "odd": "its JSON cannot be parsed",
    "list": "its JSON must be an object, got [1]",
    "none": "has no `label` in its JSON (did you mean `lable`?)",
    "null": "has `label` null; expected a text or a number",
    "two": "has 2 audio files; a sample must have one",
}


def test_every_bad_sample_is_named_with_its_shard(pitch: Pitch) -> None:
    with pytest.raises(BadAudioError, match=r"`train-000.tar/lone`: has no JSON") as caught:
        pitch([*samples(0), *BAD]).clips()
    assert "`on_bad_audio: skip`" in str(caught.value)
    actual = dict(caught.value.clips)
    assert actual.keys() == {f"train-000.tar/{stem}" for stem in REASONS}
    for stem, reason in REASONS.items():
        assert actual[f"train-000.tar/{stem}"].startswith(reason)


def test_bad_samples_are_skipped_and_listed_if_configured(pitch: Pitch, tmp_path: Path) -> None:
    garbled = [("garbled.flac", b"no sound"), ("garbled.json", encode_label("low"))]
    source = pitch([*samples(0), *BAD, *garbled], on_bad_audio="skip")
    for store in (open_store(source, LogMel(), tmp_path / "cache") for _ in range(2)):
        assert len(store.clips) == 8
        skipped = dict(store.skipped)
        assert len(skipped) == len(REASONS) + 1
        assert skipped["train-000.tar/empty"] == "is empty, 0 bytes"
        assert "cannot be decoded" in skipped["train-000.tar/garbled.flac"]


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        (100, "train-000.tar`: cannot be read as an uncompressed tar"),
        (600, "train-000.tar`: is truncated within `000.flac`"),
        (1024 * 8 + 100, "train-000.tar`: is truncated within `"),
        (-10240, "train-000.tar`: is truncated after `003.json`"),
    ],
)
def test_a_truncated_shard_is_named(pitch: Pitch, left: int, reason: str) -> None:
    source = pitch()
    file = Path(source.shards[0] if isinstance(source.shards, tuple) else source.shards)
    file = file.with_name("train-000.tar")
    content = file.read_bytes()
    end = content.rindex(b"}") // 512 * 512 + 512  # end of the last member
    file.write_bytes(content[: left if left > 0 else end])
    with pytest.raises(BadAudioError, match=reason.replace(".", r"\.")):
        source.clips()


def test_samples_before_a_truncation_are_kept_if_bad_audio_is_skipped(pitch: Pitch) -> None:
    source = pitch([*samples(0), ("last.flac", sound(300)), ("last.json", encode_label("low"))])
    file = Path(str(source.shards)).with_name("train-000.tar")
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"last.flac") + 600])
    kept = TarShards(shards=source.shards, on_bad_audio="skip")
    assert len(kept.clips()) == 8
    assert kept.skipped_clips == [("train-000.tar", "is truncated within `last.flac`")]


def test_a_compressed_tar_is_rejected(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w:gz"):
        pass
    with pytest.raises(BadAudioError, match=r"`train.tar`: cannot be read as an uncompressed tar"):
        TarShards(shards=str(tmp_path / "train.tar")).clips()


def test_missing_shards_are_named(tmp_path: Path) -> None:
    source = TarShards(shards=(str(tmp_path / "a.tar"), str(tmp_path / "b*.tar")))
    with pytest.raises(
        ValueError,
        match=r"no file matches `.*a\.tar`; check the path\nno file matches `.*b\*\.tar`",
    ):
        source.clips()


def test_a_folder_means_all_tars_below_it(tmp_path: Path) -> None:
    for place in ("data/train/0.tar", "data/test/0.tar"):
        (tmp_path / place).parent.mkdir(parents=True)
        write_tar(tmp_path / place, samples(0))
    (tmp_path / "data" / "notes.txt").write_text("of these tars")
    from_folder, each = (
        TarShards(shards=str(tmp_path / "data") + end).clips() for end in ("/", "/**/*.tar")
    )
    assert [*from_folder] == [*each]
    assert {clip.split for clip in from_folder} == {"train", "test"}


def test_a_folder_without_a_tar_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for pattern in ("data", "dat*"):
        with pytest.raises(ValueError, match=r"no file matches `.*dat"):
            TarShards(shards=str(tmp_path / pattern)).clips()


def test_empty_shards_are_rejected() -> None:
    for shards in ("", ()):
        with pytest.raises(ValueError, match="`shards` is empty"):
            TarShards(shards=shards)


def test_a_changed_shard_is_noticed_and_no_other_is_decoded_again(
    pitch: Pitch, tmp_path: Path
) -> None:
    def opened() -> tuple[ClipStore, int]:
        source = TarShards(shards=str(tmp_path / "pitch" / "*.tar"))
        store = open_store(source, LogMel(), tmp_path / "cache", check_files=False)
        (journal,) = (tmp_path / "cache").glob("*/journal")
        return store, journal.stat().st_size

    pitch()
    before, size = opened()
    write_tar(tmp_path / "pitch" / "train-001.tar", samples(30, 8))
    after, grown = opened()
    assert (len(before.clips), len(after.clips)) == (8, 16)
    assert grown == 2 * size
    assert opened()[1] == grown


def test_tar_shards_are_a_part_like_any_other(pitch: Pitch) -> None:
    source = pitch(on_bad_audio="skip")
    assert build(resolve(source), expect=TarShards) == source
    assert get_identity(source)["on_bad_audio"] == "skip"
