"""The clip store is built once, by one process, resumed if killed, and updated."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ablate.audio.mel import KaldiFbank, LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import ClipStore, compute_store_key, open_store
from ablate.audio.store_journal import RECORD
from ablate.audio.synthetic import Synthetic

Tones = Callable[..., Folder]

BUILD = """
import os, signal, sys
from pathlib import Path
from ablate.audio.mel import LogMel
from ablate.audio.store import open_store
from ablate.audio.synthetic import Synthetic

def progress(done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

small = Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)
sys.stdout.write(open_store(small, LogMel(), Path(sys.argv[1]), progress=progress).digest)
"""


def builder(cache: Path, *, killed_after: int) -> "subprocess.Popen[str]":
    """Starts a process that builds the small store, and is killed after some clips."""
    command = [sys.executable, "-c", BUILD, str(cache), str(killed_after)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def journal_lines(cache: Path) -> int:
    (journal,) = cache.glob("*/journal")
    return journal.stat().st_size // RECORD.itemsize


def alike(one: ClipStore, other: ClipStore) -> bool:
    return list(one.clips) == list(other.clips) and all(
        np.array_equal(one.frames(index), other.frames(index)) for index in range(len(one.clips))
    )


def file_of(folder: Folder, name: str) -> Path:
    return Path(folder.manifest).parent / name


def change(folder: Folder, name: str) -> None:
    """Replaces a file by audio of another length."""
    soundfile.write(file_of(folder, name), np.random.default_rng(0).uniform(-1, 1, 9999), 16000)


def test_frames_are_those_of_the_front_end(small: Synthetic, small_store: ClipStore) -> None:
    for index in (0, 50, 119):
        samples, rate = small.read(index)
        expected = LogMel()(torch.from_numpy(samples), rate).numpy()
        frames = small_store.frames(index)
        assert frames.dtype == np.float32
        assert np.allclose(frames, expected, atol=0.01)


def test_a_store_lists_its_clips_in_the_sources_order(
    small: Synthetic, small_store: ClipStore
) -> None:
    assert list(small_store.clips) == list(small.clips())
    assert small_store.lengths.tolist() == [128] * 120


def test_a_store_is_opened_again_without_decoding(small: Synthetic, tmp_path: Path) -> None:
    first = open_store(small, LogMel(), tmp_path)
    calls: list[int] = []
    again = open_store(small, LogMel(), tmp_path, progress=lambda done, _: calls.append(done))
    assert alike(first, again)
    assert again.digest == first.digest
    assert calls == []


def test_progress_ends_with_all_clips(tones: Tones, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    open_store(tones(), LogMel(), tmp_path, progress=lambda *counts: calls.append(counts))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_a_killed_build_resumes_with_what_it_decoded(
    small: Synthetic, small_store: ClipStore, tmp_path: Path
) -> None:
    killed = builder(tmp_path, killed_after=70)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert journal_lines(tmp_path) == 70
    store = open_store(small, LogMel(), tmp_path)
    assert journal_lines(tmp_path) == 120  # a line for each clip decoded: none was decoded twice
    assert alike(store, small_store)
    assert store.digest == small_store.digest


@pytest.mark.parametrize("torn", [1, 30, 75])
def test_a_truncated_last_record_costs_one_clip(tones: Tones, tmp_path: Path, torn: int) -> None:
    folder = tones()
    complete = open_store(folder, LogMel(), tmp_path)
    kept = [complete.frames(index) for index in range(6)]
    (index,) = tmp_path.glob("*/index")
    index.unlink()
    journal = index.with_name("journal")
    journal.write_bytes(journal.read_bytes()[:-torn])
    again = open_store(folder, LogMel(), tmp_path)
    assert all(np.array_equal(again.frames(index), kept[index]) for index in range(6))
    assert journal_lines(tmp_path) == 6


def test_frames_that_never_reached_the_disk_are_computed_again(
    tones: Tones, tmp_path: Path
) -> None:
    folder = tones()
    complete = open_store(folder, LogMel(), tmp_path)
    kept = [complete.frames(index) for index in range(6)]
    (index,) = tmp_path.glob("*/index")
    index.unlink()
    frames = index.with_name("frames")
    content = bytearray(frames.read_bytes())
    content[200:5000] = bytes(4800)
    frames.write_bytes(content)
    again = open_store(folder, LogMel(), tmp_path)
    assert journal_lines(tmp_path) > 6
    assert all(np.array_equal(again.frames(index), kept[index]) for index in range(6))


def test_two_processes_build_one_store(tmp_path: Path, small_store: ClipStore) -> None:
    both = [builder(tmp_path, killed_after=-1) for _ in range(2)]
    digests = [process.communicate()[0] for process in both]
    assert digests == [small_store.digest] * 2
    assert journal_lines(tmp_path) == 120


@pytest.mark.parametrize("name", ["low0.wav", "high2.wav"])
def test_a_changed_file_is_decoded_again_and_no_other(
    tones: Tones, tmp_path: Path, name: str
) -> None:
    folder = tones()
    before = open_store(folder, LogMel(), tmp_path)
    frames = [before.frames(index) for index in range(6)]
    change(folder, name)
    after = open_store(folder, LogMel(), tmp_path)
    changed = [i for i in range(6) if not np.array_equal(after.frames(i), frames[i])]
    assert [after.clips[index].path for index in changed] == [name]
    assert journal_lines(tmp_path) == 7
    assert after.digest != before.digest
    # a trial that has the store open goes on undisturbed
    assert all(np.array_equal(before.frames(index), frames[index]) for index in range(6))


def test_an_added_and_a_removed_line_are_noticed(tones: Tones, tmp_path: Path) -> None:
    folder = tones()
    before = open_store(folder, LogMel(), tmp_path)
    manifest = Path(folder.manifest)
    lines = manifest.read_text().splitlines()
    change(folder, "new.wav")
    manifest.write_text("\n".join([lines[0], *lines[2:], "new.wav,low,train"]))
    after = open_store(Folder(manifest=folder.manifest), LogMel(), tmp_path)
    assert {c.path for c in after.clips} ^ {c.path for c in before.clips} == {"low0.wav", "new.wav"}
    assert journal_lines(tmp_path) == 7


def test_a_changed_label_changes_the_digest_and_decodes_nothing(
    tones: Tones, tmp_path: Path
) -> None:
    folder = tones()
    before = open_store(folder, LogMel(), tmp_path)
    manifest = Path(folder.manifest)
    manifest.write_text(manifest.read_text().replace("high1.wav,high", "high1.wav,low"))
    after = open_store(Folder(manifest=folder.manifest), LogMel(), tmp_path)
    assert after.clips[4].label == "low"
    assert after.digest != before.digest
    assert journal_lines(tmp_path) == 6


def test_the_digest_does_not_depend_on_the_location(tones: Tones, tmp_path: Path) -> None:
    here, moved = tones(task="pitch"), tones(tmp_path / "elsewhere", task="pitch")
    stores = [open_store(folder, LogMel(), tmp_path / "cache") for folder in (here, moved)]
    assert stores[0].digest == stores[1].digest


def test_the_same_clips_in_another_order_are_other_data(tones: Tones, tmp_path: Path) -> None:
    here, moved = tones(task="pitch"), tones(tmp_path / "elsewhere", task="pitch")
    lines = Path(moved.manifest).read_text().splitlines()
    Path(moved.manifest).write_text("\n".join([lines[0], *lines[:0:-1]]))
    stores = [open_store(folder, LogMel(), tmp_path / "cache") for folder in (here, moved)]
    assert sorted(c.path for c in stores[0].clips) == sorted(c.path for c in stores[1].clips)
    assert stores[0].digest != stores[1].digest


def test_every_setting_and_location_has_its_own_store(tones: Tones, tmp_path: Path) -> None:
    keys = [
        compute_store_key(tones(), LogMel()),
        compute_store_key(tones(), LogMel(hop_ms=20)),
        compute_store_key(tones(), KaldiFbank()),
        compute_store_key(tones(task="pitch"), LogMel()),
        compute_store_key(tones(tmp_path / "elsewhere"), LogMel()),
        compute_store_key(Synthetic(), LogMel()),
        compute_store_key(Synthetic(seed=1), LogMel()),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)
    assert compute_store_key(tones(), LogMel()) == keys[0]


def test_a_relative_manifest_is_identified_by_its_absolute_path(
    tones: Tones, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for place in ("one", "two"):
        tones(tmp_path / place)
        monkeypatch.chdir(tmp_path / place)
        keys.append(compute_store_key(Folder(manifest="manifest.csv", task="t"), LogMel()))
    assert keys[0] != keys[1]


def test_a_file_in_two_tasks_is_decoded_once(
    tones: Tones, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    folder = tones()
    rows = [
        {"path": clip.path, "label": clip.label, "split": clip.split, "task": task}
        for task in ("one", "two")
        for clip in folder.clips()
    ]
    write_rows(Path(folder.manifest), rows)
    store = open_store(Folder(manifest=folder.manifest), LogMel(), tmp_path)
    assert len(store.clips) == 12
    assert journal_lines(tmp_path) == 6
    assert np.array_equal(store.frames(0), store.frames(6))


def test_torchs_thread_count_is_restored(tones: Tones, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        open_store(tones(), LogMel(), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
