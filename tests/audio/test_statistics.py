"""Mean and deviation are cached beside the clips."""

import resource
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablate.audio.loader import Normaliser, compute_statistics
from ablate.audio.mel import LogMel
from ablate.audio.statistics import load_or_compute_statistics
from ablate.audio.store import ClipStore, open_store
from ablate.audio.synthetic import Synthetic
from ablate.core.records.statistics import StatisticsFile
from ablate.worker.audio_data import AudioData

CLIPS = np.arange(20)


@pytest.fixture
def store(small: Synthetic, tmp_path: Path) -> ClipStore:
    return open_store(small, LogMel(), tmp_path)


def kept(store: ClipStore) -> list[Path]:
    return sorted(store.folder.glob("statistics-*.json"))


def same(one: Normaliser, other: Normaliser) -> bool:
    pairs = ((one.mean, other.mean), (one.std, other.std))
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("normalisation", ["bands", "all", (-4.0, 9.0)])
def test_cached_statistics_are_bitwise_equal_to_computed_ones(store, normalisation):
    measured = compute_statistics(store, CLIPS, normalisation)
    for _ in range(2):
        assert same(load_or_compute_statistics(store, CLIPS, normalisation), measured)


def test_a_process_uses_the_statistics_of_another(store):
    assert same(
        AudioData(store, 0.01).normaliser, compute_statistics(store, AudioData(store, 0.01).train)
    )
    [file] = kept(store)
    saved = StatisticsFile.read(file)
    replace(saved, mean=[7.0] * store.bands).write(file)
    assert AudioData(store, 0.01).normaliser.mean.tolist() == [7.0] * store.bands


def test_other_clips_or_another_normalisation_are_computed_separately(store):
    load_or_compute_statistics(store, CLIPS)
    for clips, normalisation in ((CLIPS[1:], "bands"), (CLIPS, "all")):
        actual = load_or_compute_statistics(store, clips, normalisation)
        assert same(actual, compute_statistics(store, clips, normalisation))
    assert len(kept(store)) == 3


def test_of_several_threads_one_computes(store, monkeypatch):
    measured = []
    frames = store.iterate_frames
    monkeypatch.setattr(store, "iterate_frames", lambda i: measured.append(i) or frames(i))
    threads = [
        threading.Thread(target=load_or_compute_statistics, args=(store, CLIPS)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(measured) == len(CLIPS)


def test_without_a_writable_folder_each_process_computes(store):
    (store.folder / "statistics.lock").mkdir()  # in the way
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # refuses as a full disk does
    try:
        actual = load_or_compute_statistics(store, CLIPS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert same(actual, compute_statistics(store, CLIPS))
    assert kept(store) == []
