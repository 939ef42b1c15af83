"""Faults of a store are reported with a reason and are gone once their cause is."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.audio.store_journal import RECORD

Tones = Callable[..., Folder]

FULL = """
import resource, sys
from pathlib import Path
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    open_store(Folder(manifest=sys.argv[1]), LogMel(), Path(sys.argv[2]))
except ValueError as error:
    sys.stdout.write(str(error))
"""


def file_of(folder: Folder, name: str) -> Path:
    return Path(folder.manifest).parent / name


def records(cache: Path) -> int:
    (journal,) = cache.glob("*/journal")
    return journal.stat().st_size // RECORD.itemsize


def test_a_vanished_file_keeps_decoded_clips(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    before = open_store(folder, LogMel(), tmp_path)
    file_of(folder, "low0.wav").unlink()
    after = open_store(folder, LogMel(), tmp_path, check_files=False)
    assert after.digest == before.digest
    assert np.array_equal(after.frames(0), before.frames(0))
    with pytest.raises(BadAudioError, match=r"`low0.wav`: no such file"):
        open_store(folder, LogMel(), tmp_path)


def test_a_changed_list_is_noticed_whether_files_are_checked_or_not(
    tones: Tones, tmp_path: Path
) -> None:
    folder = tones()
    open_store(folder, LogMel(), tmp_path)
    manifest = Path(folder.manifest)
    manifest.write_text(manifest.read_text().replace("high1.wav,high", "high1.wav,low"))
    changed = Folder(manifest=folder.manifest)
    assert open_store(changed, LogMel(), tmp_path, check_files=False).clips[4].label == "low"


def test_a_deleted_cache_can_still_be_read_and_is_rebuilt(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    cache = tmp_path / "cache"
    before = open_store(folder, LogMel(), cache)
    shutil.rmtree(cache)
    kept = [before.frames(index) for index in range(6)]
    again = open_store(folder, LogMel(), cache, check_files=False)
    assert all(np.array_equal(again.frames(index), kept[index]) for index in range(6))
    assert again.digest == before.digest


@pytest.mark.parametrize("bytes_left", [100, 20_000])
def test_a_full_disk_is_reported_and_keeps_decoded_clips(
    tones: Tones, tmp_path: Path, bytes_left: int
) -> None:
    folder, cache = tones(), tmp_path / "cache"
    command = [sys.executable, "-c", FULL, folder.manifest, str(cache), str(bytes_left)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"the cache `{cache}` cannot be written (File too large): the file is too" in done.stdout
    decoded = records(cache)
    store = open_store(folder, LogMel(), cache)
    assert decoded < 6 == records(cache)
    assert store.digest == open_store(folder, LogMel(), tmp_path / "other").digest
    assert np.isfinite(store.frames(5)).all()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_cache_is_reported(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    cache.mkdir(mode=0o500)
    with pytest.raises(ValueError, match=r"cache` cannot be written \(Permission denied\)"):
        open_store(folder, LogMel(), cache)


def test_a_cache_that_is_a_file_is_reported(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    cache.write_text("")
    with pytest.raises(ValueError, match=r"cache` cannot be written \(Not a directory\)"):
        open_store(folder, LogMel(), cache)


def test_a_damaged_index_is_rebuilt_without_decoding(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    before = open_store(folder, LogMel(), tmp_path)
    (index,) = tmp_path.glob("*/index")
    index.write_bytes(index.read_bytes()[:-9])
    again = open_store(folder, LogMel(), tmp_path)
    assert (again.digest, records(tmp_path)) == (before.digest, 6)


def test_silent_clips_are_listed_and_kept(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    hiss = np.random.default_rng(0).integers(-2, 3, 8000) / 2**15  # a converter's last two bits
    soundfile.write(file_of(folder, "low1.wav"), np.full(8000, 0.25), 16000)
    soundfile.write(file_of(folder, "high2.wav"), hiss, 16000)
    for store in (open_store(folder, LogMel(), tmp_path) for _ in range(2)):
        assert store.silent == ("low1.wav", "high2.wav")
        assert len(store.clips) == 6


def test_silent_clips_are_skipped_and_listed_if_configured(tones: Tones, tmp_path: Path) -> None:
    folder = tones(on_silence="skip")
    soundfile.write(file_of(folder, "low1.wav"), np.zeros(8000), 16000)
    for store in (open_store(folder, LogMel(), tmp_path) for _ in range(2)):
        assert store.skipped == (("low1.wav", "is silent"),)
        assert store.silent == ()
        assert len(store.clips) == 5
    assert records(tmp_path) == 6  # it is known to be silent, and not decoded again


def test_a_very_soft_clip_is_not_silent(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    whisper = 1e-3 * np.sin(np.arange(8000) / 10)
    soundfile.write(file_of(folder, "low1.wav"), whisper, 16000, subtype="PCM_24")
    assert open_store(folder, LogMel(), tmp_path).silent == ()
