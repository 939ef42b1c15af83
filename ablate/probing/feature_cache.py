"""The shelf: features on disk, written as they come and read as they are asked for.

What lies on it can be deleted at any time. A folder's name is a hash of all that decides its
features, so that no other encoder, layer, sound or preparation can be mistaken for it.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ablate.core.io import find_json, read_json, write_json
from ablate.probing.features import Block, Blocks, Indices
from ablate.probing.probe import Features
from ablate.probing.views import View

FLOAT_BYTES = 4
Produce = Callable[[Sequence[View]], Iterator[Blocks]]


def shelved(
    folder: Path, views: Sequence[View], produce: Produce, *, num_clips: int, seconds: float = 0.0
) -> dict[View, Features]:
    """Returns the features of some clips under every view; produces those that are not there.

    They are mapped from disk, float32 (rows, dim): none is read before it is looked at. `seconds`
    is the time from one row of a clip to the next, where rows are moments.
    """
    missing = [view for view in views if not _is_whole(folder, view)]
    if missing:
        _write(folder, missing, produce(missing), num_clips)
    return {view: _mapped(folder, view, seconds) for view in views}


def _write(folder: Path, views: Sequence[View], blocks: Iterator[Blocks], num_clips: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    begun = {view: folder / f".{view.word}.{secrets.token_hex(8)}" for view in views}
    counts = {view: np.zeros(num_clips, dtype=np.int64) for view in views}
    dims: dict[View, int] = {}
    try:
        with contextlib.ExitStack() as stack:
            files = {view: stack.enter_context(path.open("wb")) for view, path in begun.items()}
            for found in blocks:
                for view in views:
                    block: Block = found[view]
                    files[view].write(np.ascontiguousarray(block.rows, dtype=np.float32).data)
                    counts[view] += np.bincount(block.owners, minlength=num_clips)
                    dims[view] = block.rows.shape[1]
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())  # before its marker: a crash must not leave that alone
        for view, path in begun.items():
            path.replace(folder / f"{view.word}.f32")
            told = {"dim": dims[view], "counts": counts[view].tolist()}
            write_json(folder / f"{view.word}.json", told)  # last: it says that all is there
    finally:
        for path in begun.values():
            path.unlink(missing_ok=True)


def _is_whole(folder: Path, view: View) -> bool:
    """Whether a view's features are there, and as many as its marker says."""
    told, data = find_json(folder / f"{view.word}.json"), folder / f"{view.word}.f32"
    if told is None or not data.exists():
        return False
    size: int = FLOAT_BYTES * sum(told["counts"]) * told["dim"]
    return data.stat().st_size == size


def _mapped(folder: Path, view: View, seconds: float) -> Features:
    told = read_json(folder / f"{view.word}.json")
    counts: Indices = np.array(told["counts"], dtype=np.int64)
    shape = (int(counts.sum()), int(told["dim"]))
    rows = np.memmap(folder / f"{view.word}.f32", dtype=np.float32, mode="r", shape=shape)
    return Features(rows, counts, seconds)
