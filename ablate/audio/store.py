"""The clip store: every clip of a source as log-mel frames on disk, computed once, memory-mapped.

Opening a store builds what is missing of it. A clip is decoded again only if its file changed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from ablate.audio.labels import check_labels
from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.sources import AbstractSource, BadAudioError
from ablate.audio.store_builder import MISSING, Progress, build
from ablate.audio.store_index import StoreIndex, read_index
from ablate.audio.store_journal import Frames, Journal, Keys, compute_file_key, map_frames
from ablate.parts import get_identity, replace_settings

_FORMAT = 2  # of the files: stores of another format lie in folders of their own


class ClipStore:
    """The clips of a source as frames; many processes may read one store."""

    def __init__(self, index: StoreIndex, frames: Frames, folder: Path) -> None:
        self.folder = folder  # for what is worked out of the clips
        self.clips = index.clips
        self.lengths = index.lengths  # (clips,), frames
        self.digest = index.digest
        self.label_problems = (
            index.label_problems
        )  # why its labels cannot be probed, if they cannot
        self._index = index
        self._frames = frames

    @property
    def bands(self) -> int:
        """The number of mel bands."""
        return int(self._frames.shape[1])

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """The clips that were left out, and why: (path, reason)."""
        return tuple(zip(*self._index.skipped, strict=True))

    @property
    def silent(self) -> tuple[str, ...]:
        """The paths of clips that hold nothing but silence, and were kept."""
        return tuple(self.clips.paths[int(index)] for index in np.flatnonzero(self._index.silent))

    def frames(self, index: int) -> npt.NDArray[np.float32]:
        """Returns one clip, (frames, bands), not normalised."""
        return self.read_frames(index, 0, int(self.lengths[index])).astype(np.float32)

    def read_frames(self, index: int, start: int, stop: int) -> Frames:
        """Returns frames of one clip as stored, (frames, bands); past its end there are none."""
        first, last = int(self._index.first[index]), min(stop, int(self.lengths[index]))
        return self._frames[first + start : first + last]


def compute_store_key(source: AbstractSource, front_end: AbstractFrontEnd) -> str:
    """Names a store, 16 hex digits: all settings, and where the clips are listed."""
    settings = get_identity(front_end)
    settings.pop("normalisation", None)  # of what is read, not of what is stored
    key = [_FORMAT, get_identity(source), source.location, settings]
    return hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()


def get_store_paths(
    source: AbstractSource, front_end: AbstractFrontEnd, cache: Path
) -> tuple[Path, Path]:
    """Returns the folder of a store's frames below `cache`, and in it the file of its index.

    Sources that differ only in settings that are `unheard` share the frames: none is decoded again.
    """
    own, shared = (compute_store_key(of, front_end) for of in (source, _as_heard(source)))
    folder = cache / shared
    return folder, folder / ("index" if own == shared else f"index-{own}")


def open_store(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    cache: Path,
    *,
    check_files: bool = True,
    probed: bool = True,
    progress: Progress | None = None,
) -> ClipStore:
    """Opens the store of a source below `cache`; builds what it lacks.

    Of several processes one builds and the others wait for it. Without `check_files`, a store
    that is complete for the source's list is opened whatever became of the files since. Raises
    `BadAudioError` naming the clips that are missing, before anything is decoded, or that are
    broken; `ValueError` for labels that cannot be `probed`, and where the cache cannot be written.
    """
    folder, file = get_store_paths(source, front_end, cache)
    index = _complete(file, source.edition)
    check_files = check_files and source.has_files
    if index is None or (check_files and not np.array_equal(index.keys, _keys(source))):
        index = _built(source, front_end, file, probed=probed, progress=progress)
    if probed and index.label_problems:
        raise ValueError(index.label_problems)
    return ClipStore(index, map_frames(folder, front_end.bands, index.end), folder)


def check_source(source: AbstractSource, *, probed: bool = True) -> Keys:
    """Refuses what can be told of a source before anything is decoded; names its files, (clips, 2).

    Raises `BadAudioError` naming the clips that are missing, `ValueError` for its list or labels.
    """
    clips, keys = source.clips(), _keys(source)
    if probed:
        check_labels(clips)
    missing = np.flatnonzero(~keys.any(axis=1))
    if len(missing) and not source.skips_bad_audio:
        raise BadAudioError(*((clips.paths[int(index)], MISSING) for index in missing))
    return keys


def _built(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    file: Path,
    *,
    probed: bool,
    progress: Progress | None,
) -> StoreIndex:
    """Brings a store up to date, unless another process has done so meanwhile."""
    keys, folder = check_source(source, probed=probed), file.parent
    with _writable(folder), FileLock(folder / "lock"), _one_thread():
        index = _complete(file, source.edition)
        if index is None or not np.array_equal(index.keys, keys):
            journal = Journal(folder, front_end.bands, _synced(folder))
            build(source, front_end, keys, journal, progress).write(file)
            index = read_index(file)
    assert index is not None
    return index


def _as_heard(source: Any) -> Any:
    """Returns the source that has the defaults of all settings that are `unheard`."""
    fields = [field for field in dataclasses.fields(source) if field.name in source.unheard]
    return replace_settings(source, **{field.name: field.default for field in fields})


def _synced(folder: Path) -> npt.NDArray[np.int64]:
    """Returns where frames begin that some index speaks of: it was written after them."""
    indexes = [read_index(file) for file in folder.glob("index*")]
    return np.concatenate([np.zeros(0, np.int64), *(index.first for index in indexes if index)])


def _complete(file: Path, edition: str) -> StoreIndex | None:
    """Returns the index of a store that is complete for a source's list, or None."""
    index = read_index(file)
    return index if index and index.edition == edition else None


def _keys(source: AbstractSource) -> Keys:
    """Names every file as it is now, (clips, 2)."""
    keys = bytearray()
    for index, path in enumerate(source.clips().paths):
        keys += compute_file_key(path, source.stamp(index))
    return np.frombuffer(keys, dtype=np.uint64).reshape(-1, 2)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Makes a folder, and says what to do where it cannot be written, or is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ValueError(
            f"the cache `{folder.parent}` cannot be written ({error.strerror or error}); make room "
            "or choose another folder, then run again: what is decoded is kept"
        ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: a clip is too short for more, and workers share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
