"""Caches the mean and deviation of the pre-training clips beside the clip store.

Computing them reads every frame, which for a large corpus takes longer than starting a training.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
from filelock import FileLock

from ablate.audio.front_end import Normalisation
from ablate.audio.loader import Indices, Normaliser, compute_statistics
from ablate.audio.store import ClipStore
from ablate.core.records.statistics import StatisticsFile

_VERSION = (
    1  # raise it when `compute_statistics` changes its results: cached files are then ignored
)


def load_or_compute_statistics(
    store: ClipStore, indices: Indices, normalisation: Normalisation = "bands"
) -> Normaliser:
    """Returns exactly what `compute_statistics` returns, from a cached file if there is one.

    Of several processes one computes and the others wait for it. If the store's folder is not
    writable, each process computes for itself. Raises as `compute_statistics` does.
    """
    if isinstance(normalisation, tuple):
        return compute_statistics(store, indices, normalisation)
    file = store.folder / f"statistics-{_compute_key(store, indices, normalisation)}.json"
    if (cached := _load(file)) is not None:
        return cached
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(FileLock(store.folder / "statistics.lock"))
        result = _load(file) or compute_statistics(store, indices, normalisation)
        with contextlib.suppress(OSError):
            StatisticsFile(mean=result.mean.tolist(), std=result.std.tolist()).write(file)
    return result


def _compute_key(store: ClipStore, indices: Indices, normalisation: Normalisation) -> str:
    """Hashes everything that decides the result, and the version of the file."""
    key = json.dumps([_VERSION, store.digest, normalisation])
    return hashlib.blake2b(key.encode() + indices.tobytes(), digest_size=8).hexdigest()


def _load(file: Path) -> Normaliser | None:
    """Loads cached statistics; float32 values survive the round trip through decimals."""
    try:
        saved = StatisticsFile.find(file)
    except ValueError:  # damaged, or of an earlier version
        return None
    if saved is None:
        return None
    return Normaliser(*(np.array(values, dtype=np.float32) for values in (saved.mean, saved.std)))
