"""Sources that differ only in non-audio settings share one set of frames."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.mel import LogMel
from ablate.audio.source import AbstractSource
from ablate.audio.sources import Folder
from ablate.audio.store import ClipStore, compute_store_key, get_store_paths, open_store
from ablate.audio.store_journal import RECORD
from ablate.audio.synthetic import Synthetic
from ablate.audio.tar_shards import TarShards
from ablate.probing.xares import XARES

Tones = Callable[..., Folder]
OTHERWISE: dict[str, Any] = {
    "label": "",
    "task": "pitch",
    "on_bad_audio": "skip",
    "on_silence": "skip",
    "on_rare_class": "drop",
    "duplicates": "drop",
    "split": "part",
    "tasks": ("esc50",),
}
BUILD = """
import sys
from pathlib import Path
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store

folder = Folder(manifest=sys.argv[1], task=sys.argv[3])
sys.stdout.write(open_store(folder, LogMel(), Path(sys.argv[2])).digest)
"""


def decoded(cache: Path) -> int:
    """Counts all clips that were ever decoded, in the only set of frames."""
    (journal,) = cache.glob("*/journal")
    return journal.stat().st_size // RECORD.itemsize


def contents(store: ClipStore) -> list[bytes]:
    return [store.frames(index).tobytes() for index in range(len(store.clips))]


@contextmanager
def relisted(folder: Folder, change: Callable[[list[str]], list[str]]) -> Iterator[str]:
    """Lists other clips in a manifest for a while, or the same in another order."""
    manifest = Path(folder.manifest)
    before = manifest.read_bytes()
    header, *lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *change(lines)]))
    yield folder.manifest
    manifest.write_bytes(before)


def spoil(folder: Folder, name: str) -> None:
    (Path(folder.manifest).parent / name).write_bytes(b"no sound")


def test_skipping_bad_clips_decodes_nothing_again(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    spoil(folder, "low1.wav")
    with pytest.raises(BadAudioError, match="or set `on_bad_audio: skip`"):
        open_store(folder, LogMel(), cache)
    assert decoded(cache) == 5
    advised = dataclasses.replace(folder, on_bad_audio="skip")
    store = open_store(advised, LogMel(), cache)
    assert decoded(cache) == 5
    afresh = open_store(advised, LogMel(), tmp_path / "other")
    assert (store.digest, contents(store)) == (afresh.digest, contents(afresh))


@pytest.mark.parametrize("name", Folder.non_audio_settings)
def test_changing_non_audio_settings_decodes_nothing_again(
    tones: Tones, tmp_path: Path, name: str
) -> None:
    folder, cache = tones(), tmp_path / "cache"
    soundfile.write(Path(folder.manifest).parent / "low1.wav", np.zeros(8000), 16000)
    open_store(folder, LogMel(), cache)
    changed = dataclasses.replace(folder, **{name: OTHERWISE[name]})
    store = open_store(changed, LogMel(), cache, probed=False)
    assert decoded(cache) == 6
    afresh = open_store(changed, LogMel(), tmp_path / "other", probed=False)
    assert (store.digest, contents(store)) == (afresh.digest, contents(afresh))
    assert list(store.clips) == list(afresh.clips)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (source, name)
        for source in (Folder(manifest="m.csv"), TarShards(shards="a.tar"), XARES(folder="env"))
        for name in type(source).non_audio_settings
    ],
)
def test_non_audio_settings_change_the_index_only(
    tmp_path: Path, source: AbstractSource, name: str
) -> None:
    changed = dataclasses.replace(source, **{name: OTHERWISE[name]})
    (folder, index), (same, other) = (
        get_store_paths(each, LogMel(), tmp_path) for each in (source, changed)
    )
    assert folder == same
    assert index != other


def test_different_audio_or_front_ends_share_no_frames(tones: Tones, tmp_path: Path) -> None:
    places = [
        get_store_paths(tones(), LogMel(), tmp_path),
        get_store_paths(tones(), LogMel(hop_ms=20), tmp_path),
        get_store_paths(tones(tmp_path / "elsewhere"), LogMel(), tmp_path),
        get_store_paths(tones(channel="left"), LogMel(), tmp_path),
        get_store_paths(Synthetic(), LogMel(), tmp_path),
        get_store_paths(Synthetic(seed=1), LogMel(), tmp_path),
    ]
    assert len({folder for folder, _ in places}) == len(places)


def test_the_key_of_a_default_store_is_unchanged(tones: Tones, tmp_path: Path) -> None:
    folder, index = get_store_paths(tones(), LogMel(), tmp_path)
    assert folder.name == compute_store_key(tones(), LogMel())
    assert index.name == "index"


def test_a_file_that_changes_for_one_list_does_not_affect_others(
    tones: Tones, tmp_path: Path
) -> None:
    folder, cache = tones(), tmp_path / "cache"
    kept = contents(open_store(folder, LogMel(), cache))
    sound = np.random.default_rng(0).uniform(-1, 1, 9999)
    soundfile.write(Path(folder.manifest).parent / "low1.wav", sound, 16000)
    other = open_store(dataclasses.replace(folder, task="pitch"), LogMel(), cache)
    assert contents(other) != kept
    assert contents(open_store(folder, LogMel(), cache, check_files=False)) == kept


def test_a_lost_journal_does_not_affect_other_lists(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    kept = contents(open_store(folder, LogMel(), cache))
    (journal,) = cache.glob("*/journal")
    journal.unlink()
    with relisted(folder, lambda lines: lines[::-1]) as manifest:
        backwards = Folder(manifest=manifest, task="pitch")
        assert contents(open_store(backwards, LogMel(), cache)) == kept[::-1]
    assert contents(open_store(folder, LogMel(), cache, check_files=False)) == kept


def test_an_index_marks_only_its_own_frames_as_synced(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    store = open_store(folder, LogMel(), cache)
    kept = contents(store)
    for file in store.folder.glob("index*"):
        file.unlink()
    damaged = bytearray((store.folder / "frames").read_bytes())
    damaged[:999] = bytes(999)  # a power cut came before they were on disk
    (store.folder / "frames").write_bytes(damaged)
    with relisted(folder, lambda lines: lines[1:]) as manifest:
        open_store(Folder(manifest=manifest), LogMel(), cache, probed=False)
    assert contents(open_store(folder, LogMel(), cache)) == kept


def test_builders_of_two_lists_decode_each_clip_once(tones: Tones, tmp_path: Path) -> None:
    folder, cache = tones(), tmp_path / "cache"
    command = [sys.executable, "-c", BUILD, folder.manifest, str(cache)]
    both = [
        subprocess.Popen([*command, task], stdout=subprocess.PIPE, text=True)
        for task in ("one", "two")
    ]
    digests = [process.communicate()[0] for process in both]
    assert decoded(cache) == 6
    for task, digest in zip(("one", "two"), digests, strict=True):
        afresh = open_store(Folder(manifest=folder.manifest, task=task), LogMel(), tmp_path / task)
        assert digest == afresh.digest
