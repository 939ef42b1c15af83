"""Mean and deviation of the clips to pre-train on: measured once, and kept beside the clips.

To measure them reads every frame, which takes a large corpus longer than to start a training does.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
from filelock import FileLock

from ablate.audio.loader import Indices, Normaliser, compute_statistics
from ablate.audio.mel import Normalisation
from ablate.audio.store import ClipStore
from ablate.core.io import find_json, write_json

_MEASURE = 1  # raised where `statistics` gives other numbers: those that are kept are not read


def load_or_compute_statistics(
    store: ClipStore, indices: Indices, normalisation: Normalisation = "bands"
) -> Normaliser:
    """Returns what `statistics` does, to the last bit; raises as it does.

    Of several processes one measures and the others wait for it. Where the store's folder cannot
    be written to, each measures for itself.
    """
    if isinstance(normalisation, tuple):
        return compute_statistics(store, indices, normalisation)
    file = store.folder / f"statistics-{_key(store, indices, normalisation)}.json"
    if (found := _read(file)) is not None:
        return found
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(FileLock(store.folder / "statistics.lock"))
        found = _read(file) or compute_statistics(store, indices, normalisation)
        with contextlib.suppress(OSError):
            write_json(file, {"mean": found.mean.tolist(), "std": found.std.tolist()})
    return found


def _key(store: ClipStore, indices: Indices, normalisation: Normalisation) -> str:
    """Hashes what decides the numbers: what the clips hold, which of them, and over what."""
    told = json.dumps([_MEASURE, store.digest, normalisation])
    return hashlib.blake2b(told.encode() + indices.tobytes(), digest_size=8).hexdigest()


def _read(file: Path) -> Normaliser | None:
    """Reads what was kept: float32 written out in decimals comes back as it was."""
    told = find_json(file)
    if told is None:
        return None
    return Normaliser(*(np.array(told[name], dtype=np.float32) for name in ("mean", "std")))
