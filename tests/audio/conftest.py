"""Fixtures: audio files, manifests and clip stores."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.column_file import StringColumn
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import ClipStore, open_store
from ablate.audio.store_index import StoreIndex
from ablate.audio.synthetic import Synthetic


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def real_data() -> Path:
    """The folder of real sounds, where the machine has one."""
    place = os.environ.get("ABLATE_TEST_DATA")
    if place:
        return Path(place)
    reason = "needs real sounds: set ABLATE_TEST_DATA to a folder of packs"
    if "data" in os.environ.get("ABLATE_REQUIRE", ""):
        pytest.fail(reason)
    pytest.skip(reason)


def tone(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


@pytest.fixture
def write_rows() -> Callable[[Path, Sequence[dict[str, str]]], Path]:
    """Writes a manifest."""

    def write(manifest: Path, rows: Sequence[dict[str, str]]) -> Path:
        with manifest.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return manifest

    return write


@pytest.fixture
def tones(
    tmp_path: Path, write_rows: Callable[[Path, Sequence[dict[str, str]]], Path]
) -> Callable[..., Folder]:
    """Makes a folder of low and high tones, three clips each: train, valid, test."""

    def make(place: Path = tmp_path / "tones", **settings: Any) -> Folder:
        place.mkdir(exist_ok=True)
        rows = []
        for label, hertz in (("low", 220.0), ("high", 880.0)):
            for number, split in enumerate(("train", "valid", "test")):
                name = f"{label}{number}.wav"
                sound = tone(hertz * (1 + 0.1 * number), 0.2 + 0.1 * number, 16000)
                soundfile.write(place / name, sound, 16000)
                rows.append({"path": name, "label": label, "split": split})
        manifest = write_rows(place / "manifest.csv", rows)
        return Folder(manifest=str(manifest), **settings)

    return make


@pytest.fixture(scope="session")
def small() -> Synthetic:
    return Synthetic(clips_per_class=2, valid_per_class=1, test_per_class=1)


@pytest.fixture(scope="session")
def small_store(small: Synthetic, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return open_store(small, LogMel(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[int]], ClipStore]:
    """Makes a store in memory whose every frame holds a number of its own, (thousands, rest)."""

    def make(lengths: Sequence[int]) -> ClipStore:
        number = np.arange(sum(lengths))
        frames = np.stack([number // 1000, number % 1000], axis=1).astype(np.float16)
        clips = ClipTable.from_clips(
            ClipInfo(path=f"{index}.wav", label="x", task="t", split="train")
            for index in range(len(lengths))
        )
        index = StoreIndex(
            clips=clips,
            first=np.cumsum([0, *lengths[:-1]]),
            lengths=np.array(lengths),
            flags=np.zeros(len(lengths), dtype=np.uint32),
            digest="",
            skipped=(StringColumn.from_texts([]), StringColumn.from_texts([])),
            keys=np.zeros((len(lengths), 2), dtype=np.uint64),
        )
        return ClipStore(index, frames, tmp_path_factory.mktemp("numbered"))

    return make
