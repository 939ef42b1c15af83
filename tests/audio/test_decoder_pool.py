"""Clips decoded by several processes give the same store as those decoded one by one."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.audio import decoder_pool
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import check_source
from ablate.audio.store_builder import build_index
from ablate.audio.store_journal import Journal
from tests.audio.sounds import write_faulty_folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Five sounds of different lengths, one of them silent, one broken and one missing."""
    return write_faulty_folder(tmp_path_factory.mktemp("sounds"), num_sounds=5, faults_after=5)


def build_store(sounds: Folder, folder: Path, num_processes: int) -> dict[str, bytes]:
    """Returns the bytes of a store's files by name."""
    folder.mkdir()
    keys = check_source(sounds, probed=False)
    journal = Journal(folder, LogMel().bands, np.zeros(0, dtype=np.int64))
    index = build_index(sounds, LogMel(), keys, journal, None, num_processes)
    index.write(folder / "index")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_bytes_of_a_store_do_not_depend_on_the_number_of_processes(
    sounds: Folder, tmp_path: Path
) -> None:
    alone = build_store(sounds, tmp_path / "alone", 0)
    together = build_store(sounds, tmp_path / "together", 2)
    assert together == alone
    assert len(alone["frames"]) > 0


def test_a_store_is_complete_although_a_decoding_process_ends(
    sounds: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = (sys.executable, "-c", f"import os; os.read(0, 1); os._exit({os.EX_SOFTWARE})")
    alone = build_store(sounds, tmp_path / "alone", 0)
    monkeypatch.setattr(decoder_pool, "COMMAND", ended)
    assert build_store(sounds, tmp_path / "ended", 2) == alone
