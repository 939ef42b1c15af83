"""Real datasets are read completely, with their published splits."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ablate.audio.labels import check_labels
from ablate.audio.loader import Loader, compute_statistics
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store


@pytest.mark.parametrize(
    ("pack", "clips", "labels"),
    [("esc50", 2000, 50), ("arabic_commands", 2400, 20), ("philharmonia_notes", 1984, 15)],
)
def test_a_pack_lists_clips_that_can_be_probed(
    real_data: Path, pack: str, clips: int, labels: int
) -> None:
    folder = Folder(manifest=str(real_data / pack / "metadata.csv"))
    actual = folder.clips()
    check_labels(actual)
    assert (len(actual), len({clip.label for clip in actual})) == (clips, labels)
    assert all(folder.stamp(index) for index in range(len(actual)))


def test_published_splits_are_kept(real_data: Path) -> None:
    folder = Folder(manifest=str(real_data / "arabic_commands" / "metadata.csv"))
    counts = Counter(clip.split for clip in folder.clips())
    assert counts == {"train": 1440, "valid": 480, "test": 480}


def test_another_column_may_be_the_label(real_data: Path) -> None:
    manifest = real_data / "philharmonia_notes" / "metadata.csv"
    folder = Folder(manifest=str(manifest), label="pitch_class")
    assert len({clip.label for clip in folder.clips()}) == 12


def test_real_sounds_become_batches(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "philharmonia_notes"
    lines = (source / "metadata.csv").read_text().splitlines()
    (tmp_path / "audio").symlink_to(source / "audio")
    (tmp_path / "few.csv").write_text("\n".join([lines[0], *lines[1:400:3]]))
    folder = Folder(manifest=str(tmp_path / "few.csv"))
    store = open_store(folder, LogMel(hop_ms=15.625), tmp_path)
    everything = range(len(store.clips))
    normaliser = compute_statistics(store, everything)
    batch = Loader(store, everything, 128, normaliser, 0).batch(0, 32)
    assert batch.mels.isfinite().all()
    assert 0.5 < float(batch.mels[batch.valid_frames.unsqueeze(1).expand_as(batch.mels)].std()) < 2
    assert np.ptp(store.lengths) > 0
