"""The clip store: caches the log-mel frames of a source's clips on disk, memory-mapped.

Opening a store builds whatever is missing. A clip is decoded again only if its file changed.
"""

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.labels import check_labels
from ablate.audio.selection import drop_rare_classes
from ablate.audio.source import AbstractSource
from ablate.audio.store_builder import Progress, build_index
from ablate.audio.store_index import StoreIndex, read_index
from ablate.audio.store_journal import (
    ClipFlag,
    Frames,
    Journal,
    Keys,
    compute_file_key,
    find_checksums,
    map_frames,
)
from ablate.core.io import DamagedFileError
from ablate.core.machine_errors import find_remedy
from ablate.parts import get_identity, replace_settings

_PIECE = 1 << 22  # values of a long clip that are read at once
_FORMAT = 3  # version of the files; part of the folder's name, so another format is rebuilt


class ClipStore:
    """The clips of a source as frames. Many processes may read one store.

    Attributes:
        folder: the store's folder, for files that are derived from the clips.
        clips: the table of clips.
        lengths: (clips,), in frames.
        digest: hash of clips, labels and audio.
        label_problems: why the labels cannot be probed; empty if they can.
        notes: what was found about duplicates and dropped classes, in sentences.
    """

    def __init__(self, index: StoreIndex, frames: Frames, folder: Path) -> None:
        self._checksums = find_checksums(folder, index.first, index.lengths)
        self._is_verified = self._checksums < 0  # (clips,); unknown ones cannot be verified
        self.folder = folder
        self.clips = index.clips
        self.lengths = index.lengths
        self.digest = index.digest
        self.label_problems = index.label_problems
        self.notes = index.notes
        self._index = index
        self._frames = frames

    @property
    def bands(self) -> int:
        """The number of mel bands."""
        return int(self._frames.shape[1])

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """The clips that were left out: (path, reason)."""
        return tuple(zip(*self._index.skipped, strict=True))

    @property
    def silent(self) -> tuple[str, ...]:
        """The paths of clips that are silent but were kept."""
        return self._list_flagged(ClipFlag.SILENT)

    @property
    def cancelled(self) -> tuple[str, ...]:
        """The paths of clips whose channels cancel out when they are mixed."""
        return self._list_flagged(ClipFlag.CANCELLED)

    def _list_flagged(self, flag: ClipFlag) -> tuple[str, ...]:
        places = np.flatnonzero(self._index.flags & flag)
        return tuple(self.clips.paths[int(index)] for index in places)

    def frames(self, index: int) -> npt.NDArray[np.float32]:
        """Returns all frames of a clip, (frames, bands), not normalised."""
        return self.read_frames(index, 0, int(self.lengths[index])).astype(np.float32)

    def iterate_frames(self, index: int) -> Iterator[npt.NDArray[np.float32]]:
        """Yields all frames of a clip, (frames, bands), not normalised; long clips in pieces."""
        size = max(1, _PIECE // self.bands)
        for start in range(0, int(self.lengths[index]), size):
            yield self.read_frames(index, start, start + size).astype(np.float32)

    def read_frames(self, index: int, start: int, stop: int) -> Frames:
        """Returns frames `start` to `stop` of a clip, (frames, bands), as stored.

        Fewer frames are returned if the clip ends before `stop`. All frames of the clip are
        verified when it is first read. Raises `DamagedFileError`.
        """
        if not self._is_verified[index]:
            self._verify(index)
        first, last = int(self._index.first[index]), min(stop, int(self.lengths[index]))
        return self._frames[first + start : first + last]

    def _verify(self, index: int) -> None:
        first, length = int(self._index.first[index]), int(self.lengths[index])
        content = np.ascontiguousarray(self._frames[first : first + length])
        if zlib.crc32(content.data) != self._checksums[index]:
            problem = f"holds damaged frames of `{self.clips.paths[index]}`"
            remedy = f"delete {self.folder} and run again, which decodes the clips anew"
            raise DamagedFileError(self.folder / "frames", problem, remedy)
        self._is_verified[index] = True


def compute_store_key(source: AbstractSource, front_end: AbstractFrontEnd) -> str:
    """Returns the key of a store, 16 hex digits: hashes all settings and the source's location."""
    settings = get_identity(front_end)
    settings.pop("normalisation", None)  # applied when reading; stored frames do not depend on it
    key = [_FORMAT, get_identity(source), source.location, settings]
    return hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()


def get_store_paths(
    source: AbstractSource, front_end: AbstractFrontEnd, cache: Path
) -> tuple[Path, Path]:
    """Returns the folder of a store below `cache`, and the path of its index file in it.

    Sources that differ only in their `non_audio_settings` share one folder and its frames, and have
    an index each.
    """
    own = compute_store_key(source, front_end)
    shared = compute_store_key(_reset_non_audio_settings(source), front_end)
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
    """Opens the store of a source, and builds whatever is missing.

    Of several processes one builds and the others wait for it.

    Args:
        source: the clips.
        front_end: turns waveforms into frames.
        cache: the folder of all stores.
        check_files: whether to look for changed files; if not, a store that is complete for the
            source's list is opened even if files have changed since.
        probed: whether probes use the labels, which are then checked.
        progress: called with the number of clips done and of all clips.

    Raises:
        BadAudioError: for missing clips, before anything is decoded, and for broken clips.
        ValueError: for labels that cannot be probed, and if the cache cannot be written.
    """
    folder, file = get_store_paths(source, front_end, cache)
    index = _find_complete_index(file, source.list_version)
    check_files = check_files and source.has_files
    if index is None or (check_files and not np.array_equal(index.keys, _compute_keys(source))):
        index = _update(source, front_end, file, probed=probed, progress=progress)
    if probed and index.label_problems:
        raise ValueError(index.label_problems)
    return ClipStore(index, map_frames(folder, front_end.bands, index.end), folder)


def check_source(source: AbstractSource, *, probed: bool = True) -> Keys:
    """Checks a source as far as is possible without decoding.

    Returns:
        The keys of its files, (clips, 2).

    Raises:
        BadAudioError: for missing clips.
        ValueError: for its list, and for labels that cannot be probed.
    """
    clips, keys = source.clips(), _compute_keys(source)
    if probed and len(clips) and source.rare_class_policy == "drop":
        check_labels(drop_rare_classes(clips).clips)
    elif probed:
        check_labels(clips)
    missing = np.flatnonzero(~keys.any(axis=1))
    if len(missing) and not source.skips_bad_audio:
        raise BadAudioError(
            *((clips.paths[int(i)], source.describe_missing(int(i))) for i in missing[:5]),
            *((clips.paths[int(i)], "no such file") for i in missing[5:]),
        )
    return keys


def _update(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    file: Path,
    *,
    probed: bool,
    progress: Progress | None,
) -> StoreIndex:
    """Updates a store, unless another process has done so meanwhile."""
    keys, folder = check_source(source, probed=probed), file.parent
    with create_folder(folder), FileLock(folder / "lock"), use_one_thread():
        index = _find_complete_index(file, source.list_version)
        if index is None or not np.array_equal(index.keys, keys):
            journal = Journal(folder, front_end.bands, _find_synced_frames(folder))
            build_index(source, front_end, keys, journal, progress).write(file)
            index = read_index(file)
    assert index is not None
    return index


def _reset_non_audio_settings(source: Any) -> Any:
    """Returns the source with the defaults of its `non_audio_settings`."""
    fields = [
        field for field in dataclasses.fields(source) if field.name in source.non_audio_settings
    ]
    return replace_settings(source, **{field.name: field.default for field in fields})


def _find_synced_frames(folder: Path) -> npt.NDArray[np.int64]:
    """Returns the first frames of the clips in some index, which is written after an fsync."""
    indexes = [read_index(file) for file in folder.glob("index*")]
    return np.concatenate([np.zeros(0, np.int64), *(index.first for index in indexes if index)])


def _find_complete_index(file: Path, list_version: str) -> StoreIndex | None:
    """Returns the index of a store that is complete for the source's list, or None."""
    index = read_index(file)
    return index if index and index.list_version == list_version else None


def _compute_keys(source: AbstractSource) -> Keys:
    """Returns a key of every file in its current state, (clips, 2)."""
    keys = bytearray()
    for index, path in enumerate(source.clips().paths):
        keys += compute_file_key(path, source.stamp(index))
    return np.frombuffer(keys, dtype=np.uint64).reshape(-1, 2)


@contextmanager
def create_folder(folder: Path) -> Iterator[None]:
    """Creates a folder; turns an `OSError` into a `ValueError` with the remedy."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        remedy = find_remedy(error) or "free disk space, or choose another folder"
        name = None if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
        if name is not None and not name.is_relative_to(folder.parent.absolute()):
            problem = f"`{name}` cannot be read ({error.strerror or error}): {remedy}"
            raise ValueError(f"{problem}; then run again: decoded clips are kept") from error
        raise ValueError(
            f"the cache `{folder.parent}` cannot be written ({error.strerror or error}): {remedy}; "
            "then run again: decoded clips are kept"
        ) from error


@contextmanager
def use_one_thread() -> Iterator[None]:
    """Limits torch to one thread: clips are too short for more, and workers share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
