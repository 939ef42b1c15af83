"""The feature cache: features on disk, written as they are computed and memory-mapped for reading.

Its files can be deleted at any time. Callers name a folder by a hash of everything that determines
its features, so that features of another encoder, layer or data set are never used by mistake.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ablate.core.io import DamagedFileError, find_json, read_json, write_json
from ablate.probing.features import FeatureRows, Indices, RowsByView
from ablate.probing.probe import Features
from ablate.probing.views import View

FLOAT_BYTES = 4
ComputeFeatures = Callable[[Sequence[View]], Iterator[RowsByView]]


def load_or_compute(
    folder: Path,
    views: Sequence[View],
    compute: ComputeFeatures,
    *,
    num_clips: int,
    seconds: float = 0.0,
) -> dict[View, Features]:
    """Loads the features of some clips under every view, and computes missing ones first.

    Args:
        folder: Where the features are stored.
        views: The views to return.
        compute: Computes the features of the views that are missing.
        num_clips: Number of clips.
        seconds: Time between two rows of a clip, if rows are moments.

    Returns:
        Features whose rows, float32 (rows, dim), are memory-mapped: only what is used is read.
    """
    missing = [view for view in views if not _is_complete(folder, view)]
    if missing:
        _write(folder, missing, compute(missing), num_clips)
    return {view: _map(folder, view, seconds) for view in views}


def _write(
    folder: Path, views: Sequence[View], batches: Iterator[RowsByView], num_clips: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = {view: folder / f".{view.name}.{secrets.token_hex(8)}" for view in views}
    counts = {view: np.zeros(num_clips, dtype=np.int64) for view in views}
    dims: dict[View, int] = {}
    try:
        with contextlib.ExitStack() as stack:
            files = {view: stack.enter_context(path.open("wb")) for view, path in partial.items()}
            for batch in batches:
                for view in views:
                    block: FeatureRows = batch[view]
                    files[view].write(np.ascontiguousarray(block.rows, dtype=np.float32).data)
                    counts[view] += np.bincount(block.owners, minlength=num_clips)
                    dims[view] = block.rows.shape[1]
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())  # before its marker: a crash must not leave that alone
        for view, path in partial.items():
            path.replace(folder / f"{view.name}.f32")
            # the marker comes last: it declares the file complete
            marker = {"dim": dims[view], "counts": counts[view].tolist()}
            marker["sha256"] = _compute_checksum(folder / f"{view.name}.f32", marker)
            write_json(folder / f"{view.name}.json", marker)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def _is_complete(folder: Path, view: View) -> bool:
    """Whether the file of a view exists and has the size and checksum that its marker declares.

    A damaged file, or marker, is computed and written again.
    """
    data = folder / f"{view.name}.f32"
    try:
        marker = find_json(folder / f"{view.name}.json")
        if marker is None or not data.exists():
            return False
        size: int = FLOAT_BYTES * sum(marker["counts"]) * marker["dim"]
        is_complete = data.stat().st_size == size
        return is_complete and marker["sha256"] == _compute_checksum(data, marker)
    except (DamagedFileError, KeyError, TypeError):
        return False


def _compute_checksum(data: Path, marker: Mapping[str, Any]) -> str:
    """Hashes a file of features and how it is divided."""
    with data.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    text = f"{content} {marker['dim']} {marker['counts']}"
    return hashlib.sha256(text.encode()).hexdigest()


def _map(folder: Path, view: View, seconds: float) -> Features:
    marker = read_json(folder / f"{view.name}.json")
    counts: Indices = np.array(marker["counts"], dtype=np.int64)
    shape = (int(counts.sum()), int(marker["dim"]))
    rows = np.memmap(folder / f"{view.name}.f32", dtype=np.float32, mode="r", shape=shape)
    return Features(rows, counts, seconds)
