"""A store of very many clips is opened and read without an object per clip."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.audio.column_file import StringColumn
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import get_store_paths, open_store
from ablate.audio.store_index import StoreIndex

CLIPS = 200_000

READ = """
import gc, json, resource, sys
from pathlib import Path
import numpy as np
from ablate.audio.loader import Loader, Normaliser
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store import open_store
from ablate.probing.tasks import select_pretraining_clips

def memory():
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

def draw(loader):
    return [len(loader.batch(step, 64).mels) for step in range(3)]

as_it_is = Normaliser(np.zeros(64, "f4"), np.ones(64, "f4"))
before, blocks = memory(), sys.getallocatedblocks()
folder = Folder(manifest=sys.argv[1])
store = open_store(folder, LogMel(), Path(sys.argv[2]), check_files=False)
opened = memory()
train = select_pretraining_clips(store.clips)
loader = Loader(store, train, 1, as_it_is, 0)
drawn = draw(loader)
measured = {
    "clips": len(store.clips),
    "opened_mb": opened - before,
    "drawn_mb": memory() - before,
    "objects": sys.getallocatedblocks() - blocks,
    "last": store.clips[-1].path,
    "drawn": drawn,
}
sys.stdout.write(json.dumps(measured))
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A manifest of very many clips, and a cache with their index, of one silent frame each."""
    place = tmp_path_factory.mktemp("many")
    manifest = place / "manifest.csv"
    with manifest.open("w") as file:
        file.write("path,label,split,labels\n")
        for number in range(CLIPS):
            split = "test" if number % 100 == 0 else "train"
            file.write(f"audio/{number:011d}.flac,label {number % 500},{split},a;b\n")
    folder = Folder(manifest=str(manifest))
    frames, index = get_store_paths(folder, LogMel(), place / "cache")
    frames.mkdir(parents=True)
    StoreIndex(
        clips=folder.clips(),
        first=np.arange(CLIPS),
        lengths=np.ones(CLIPS, dtype=np.int64),
        flags=np.ones(CLIPS, dtype=np.uint32),
        digest="made",
        skipped=(StringColumn.from_texts([]), StringColumn.from_texts([])),
        keys=np.zeros((CLIPS, 2), dtype=np.uint64),
        list_version=folder.list_version,
        end=CLIPS,
    ).write(index)
    with (frames / "frames").open("wb") as file:
        file.truncate(CLIPS * 2 * LogMel().bands)
    return manifest, place / "cache"


def test_a_store_of_very_many_clips_takes_little_memory_and_no_objects(
    many: tuple[Path, Path],
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, many)], capture_output=True, text=True, check=True
    )
    measured = json.loads(done.stdout)
    assert measured["clips"] == CLIPS
    assert measured["last"] == f"audio/{CLIPS - 1:011d}.flac"
    assert measured["drawn"] == [64] * 3
    assert measured["opened_mb"] < 30  # a tenth of what two million may take
    assert measured["drawn_mb"] < 60
    assert measured["objects"] < CLIPS / 10


def test_a_mapped_index_agrees_with_the_manifest(many: tuple[Path, Path]) -> None:
    manifest, cache = many
    folder = Folder(manifest=str(manifest))
    store = open_store(folder, LogMel(), cache, check_files=False)
    for index in (0, 100, 123_456, CLIPS - 1):
        assert store.clips[index] == folder.clips()[index]
