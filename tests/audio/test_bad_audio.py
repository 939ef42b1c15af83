"""Missing, broken and unusual audio files are reported, or skipped and listed."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile

from ablate.audio import sources
from ablate.audio.bad_audio import BadAudioError
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.audio.watched_file import open_watched
from ablate.audio.waveform import Waveform

Tones = Callable[..., Folder]


def file_of(folder: Folder, name: str) -> Path:
    return Path(folder.manifest).parent / name


def change(folder: Folder, name: str) -> None:
    """Replaces a file by audio of another length."""
    soundfile.write(file_of(folder, name), np.random.default_rng(0).uniform(-1, 1, 9999), 16000)


def test_missing_files_are_all_named_before_anything_is_decoded(
    tones: Tones, tmp_path: Path
) -> None:
    folder = tones()
    for number in range(3):
        file_of(folder, f"low{number}.wav").unlink()
    with pytest.raises(BadAudioError, match=r"`low0.wav`: no such file\n`low1.wav`.*\n`low2.wav`"):
        open_store(folder, LogMel(), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_paths_that_no_file_can_have_are_named_as_missing_files_are(
    tones: Tones, tmp_path: Path
) -> None:
    folder = tones()
    loop = file_of(folder, "low0.wav")
    loop.unlink()
    loop.symlink_to(loop)
    manifest, name = Path(folder.manifest), f"{'x' * 300}.wav"
    manifest.write_text(manifest.read_text().replace("low1.wav", name))
    with pytest.raises(BadAudioError) as caught:
        open_store(folder, LogMel(), tmp_path / "cache")
    assert caught.value.clips == (
        ("low0.wav", "cannot be opened (Too many levels of symbolic links)"),
        (name, "cannot be opened (File name too long)"),
    )


def test_broken_files_are_all_named_with_a_remedy(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    for name in ("low1.wav", "high1.wav"):
        file_of(folder, name).write_bytes(b"no sound")
    with pytest.raises(BadAudioError) as caught:
        open_store(folder, LogMel(), tmp_path)
    assert [path for path, _ in caught.value.clips] == ["low1.wav", "high1.wav"]
    assert "`on_bad_audio: skip`" in str(caught.value)


def test_repairing_a_broken_file_is_enough(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    file_of(folder, "low1.wav").write_bytes(b"no sound")
    with pytest.raises(BadAudioError):
        open_store(folder, LogMel(), tmp_path)
    change(folder, "low1.wav")
    assert len(open_store(folder, LogMel(), tmp_path).clips) == 6


def test_bad_clips_are_skipped_and_listed_if_configured(tones: Tones, tmp_path: Path) -> None:
    folder = tones(on_bad_audio="skip")
    file_of(folder, "low1.wav").write_bytes(b"no sound")
    file_of(folder, "high1.wav").unlink()
    for store in (open_store(folder, LogMel(), tmp_path) for _ in range(2)):
        assert [clip.path for clip in store.clips] == [
            "low0.wav",
            "low2.wav",
            "high0.wav",
            "high2.wav",
        ]
        (first, first_reason), second = store.skipped
        assert first == "low1.wav"
        assert "cannot be decoded" in first_reason
        assert second == ("high1.wav", "no such file")
        assert store.frames(2).shape == (20, 64)


def test_a_skipped_file_is_used_once_it_is_repaired(tones: Tones, tmp_path: Path) -> None:
    folder = tones(on_bad_audio="skip")
    file_of(folder, "low1.wav").unlink()
    assert len(open_store(folder, LogMel(), tmp_path).clips) == 5
    change(folder, "low1.wav")
    assert len(open_store(folder, LogMel(), tmp_path).clips) == 6


def test_skipping_may_not_remove_a_label(tones: Tones, tmp_path: Path) -> None:
    folder = tones(on_bad_audio="skip")
    for number in range(2):
        file_of(folder, f"low{number}.wav").unlink()
    with pytest.raises(ValueError, match="`low` of task `tones` has only one clip"):
        open_store(folder, LogMel(), tmp_path)


def test_a_sound_too_loud_for_a_float_is_bad(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    sound = np.array([1e30, -1e30] * 500, np.float32)
    soundfile.write(file_of(folder, "low1.wav"), sound, 16000, subtype="FLOAT")
    with pytest.raises(BadAudioError, match=r"`low1.wav`: is too loud, with a peak of 1e\+30"):
        open_store(folder, LogMel(), tmp_path)


def test_a_waveform_too_loud_for_the_store_is_bad(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    sound = np.array([7e4, -7e4] * 500, np.float32)  # more than a float16 can say
    soundfile.write(file_of(folder, "low1.wav"), sound, 16000, subtype="FLOAT")
    with pytest.raises(BadAudioError, match=r"`low1.wav`: is too loud, with a peak of 7e\+04"):
        open_store(folder, Waveform(level="as_is"), tmp_path)


def test_a_silent_clip_and_a_single_sample_are_fine(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    soundfile.write(file_of(folder, "low1.wav"), np.zeros(8000), 16000)
    soundfile.write(file_of(folder, "low2.wav"), np.ones(1), 44100)
    store = open_store(folder, LogMel(), tmp_path)
    assert store.lengths[1:3].tolist() == [50, 1]
    assert all(np.isfinite(store.frames(index)).all() for index in range(6))


def test_clips_of_any_rate_come_out_alike(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    for name, rate in (("low0.wav", 8000), ("low1.wav", 44100), ("low2.wav", 11127)):
        wave = 0.5 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate)
        soundfile.write(file_of(folder, name), wave, rate)
    store = open_store(folder, LogMel(), tmp_path)
    assert store.lengths[:3].tolist() == [100, 100, 100]
    assert len({int(store.frames(index)[10:-10].mean(axis=0).argmax()) for index in range(3)}) == 1


@pytest.mark.parametrize("on_silence", ["keep", "skip"])
def test_skipping_may_not_remove_every_clip(tones: Tones, tmp_path: Path, on_silence: str) -> None:
    folder = tones(on_bad_audio="skip", on_silence=on_silence)
    for clip in folder.clips():
        file_of(folder, clip.path).unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match="the source has no clips"):
            open_store(folder, LogMel(), tmp_path)


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_error_of_the_disk_leaves_no_clip_out(
    tones: Tones,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,  # noqa: FBT001
) -> None:
    folder = tones(on_bad_audio="skip")
    file = file_of(folder, "low1.wav")

    def fail(path: Path) -> BinaryIO:
        if path != file:
            return open_watched(path)
        if not is_kept:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        opened = open_watched(path)
        opened.raw.error = OSError(errno.ESTALE, "Stale file handle", str(path))  # type: ignore[attr-defined]
        return opened

    with monkeypatch.context() as patch:
        patch.setattr(sources, "open_watched", fail)
        with pytest.raises(ValueError, match=f"`{file}` cannot be read .Stale file handle."):
            open_store(folder, LogMel(), tmp_path / "cache")
    assert len(open_store(folder, LogMel(), tmp_path / "cache").clips) == 6
