"""The append-only files of a clip store, which keep decoded clips if the process is killed.

`frames` holds the frames of all clips, float16, one clip after the other. It is only appended to,
so that processes which have it mapped are not disturbed. `journal` gets one record per clip, after
the clip's frames. An index is written last, by an atomic rename, and marks the store as complete.
Sources that read the same audio but differ in labels or tasks have an index each in one folder.
The version of these files is part of the folder's name (`ablate.audio.store`).
"""

import hashlib
import os
import zlib
from collections.abc import Iterable
from enum import IntFlag
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ablate.audio.column_file import Array

Frames = npt.NDArray[np.float16]  # (frames, bands)
Keys = npt.NDArray[np.uint64]  # (clips, 2), see `compute_file_key`

RECORD = np.dtype(
    [
        ("key", "<u8", (2,)),
        ("digest", "S64"),  # content digest of the audio
        ("first", "<i8"),  # index of the first frame
        ("frames", "<i8"),
        ("checksum", "<u4"),  # CRC-32 of the frames; a record may reach the disk before its frames
        ("flags", "<u4"),  # see `ClipFlag`
        ("seal", "<u4"),  # CRC-32 of this record without the seal
    ]
)


class ClipFlag(IntFlag):
    """What was found when a clip was decoded."""

    SILENT = 1
    CANCELLED = 2  # the mean over channels has almost nothing of their sound


_CHUNK_RECORDS = 1 << 16  # records read at once


def compute_file_key(path: str, stamp: str | None) -> bytes:
    """Hashes path and modification stamp of a file into 16 bytes; zeros for a missing file."""
    if stamp is None:
        return bytes(16)
    return hashlib.blake2b(f"{path}\0{stamp}".encode(), digest_size=16).digest()


def read_records(folder: Path) -> Array:
    """Memory-maps the records of a folder that another process may be writing; torn ones are cut.

    Returns an array with dtype `RECORD`, empty if the folder has no journal.
    """
    file = folder / "journal"
    count = _count_valid_records(file) if file.is_file() else 0
    if count == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype=RECORD)
    return np.memmap(file, dtype=RECORD, mode="r", shape=(count,))


def find_last_records(records: Array, keys: Keys) -> npt.NDArray[np.int64]:
    """Returns the last of some records of each file, (files,), given its key; -1 without one."""
    existing = np.ascontiguousarray(records["key"])
    if len(existing) == 0:
        return np.full(len(keys), -1)
    order = np.argsort(existing[:, 0], kind="stable")
    places = np.searchsorted(existing[order, 0], keys[:, 0], side="right") - 1
    rows = order[places]  # a key below all others wraps around to one that differs
    return np.where((existing[rows] == keys).all(axis=1) & keys.any(axis=1), rows, -1)


class WrittenFrames(NamedTuple):
    """The place of a clip's frames in the file."""

    first: int
    length: int
    checksum: int


class Journal:
    """The journal and frames in a `folder`, for one writer at a time.

    Args:
        folder: the store's folder.
        bands: the number of mel bands.
        synced: (clips,), the first frames of clips that are known to be on disk.
    """

    def __init__(self, folder: Path, bands: int, synced: npt.NDArray[np.int64]) -> None:
        self.folder = folder
        self._frame_bytes = 2 * bands
        for name in ("journal", "frames"):
            (folder / name).touch()
        num_valid = _count_valid_records(folder / "journal")
        # drops a record cut off by a crash
        os.truncate(folder / "journal", num_valid * RECORD.itemsize)
        records = self.records
        self._synced = np.isin(records["first"], synced)  # (records,), those present when opened
        # frames without a record are kept: if the journal is damaged, an index may refer to them
        written = -(-(folder / "frames").stat().st_size // self._frame_bytes)
        self._end = max(written, int((records["first"] + records["frames"]).max(initial=0)))

    @property
    def records(self) -> Array:
        """All records, memory-mapped, with dtype `RECORD`."""
        if (self.folder / "journal").stat().st_size == 0:  # an empty file cannot be mapped
            return np.zeros(0, dtype=RECORD)
        return np.memmap(self.folder / "journal", dtype=RECORD, mode="r")

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Returns the last record of each file, (files,), given its key; -1 if it has none."""
        return find_last_records(self.records, keys)

    def is_intact(self, number: int) -> bool:
        """Returns whether a record's frames are on disk as written; synced ones are not read."""
        if self._synced[number]:
            return True
        record = self.records[number]
        with (self.folder / "frames").open("rb") as file:
            file.seek(int(record["first"]) * self._frame_bytes)
            content = file.read(int(record["frames"]) * self._frame_bytes)
        return zlib.crc32(content) == int(record["checksum"])

    def write_frames(self, blocks: Iterable[Frames]) -> "WrittenFrames":
        """Writes the frames of a clip, in one or more blocks; they count once they have a record.

        Raises whatever the blocks raise; the next clip then overwrites what was written.
        """
        length = checksum = 0
        with (self.folder / "frames").open("r+b") as file:
            file.seek(self._end * self._frame_bytes)
            for block in blocks:
                content = np.ascontiguousarray(block).tobytes()
                checksum = zlib.crc32(content, checksum)
                file.write(content)
                length += len(block)
        return WrittenFrames(self._end, length, checksum)

    def append(self, key: Keys, digest: str, frames: "WrittenFrames", flags: int) -> int:
        """Appends the record of a clip whose frames were just written; returns its index.

        Raises:
            ValueError: for a digest of more than 64 characters.
        """
        if len(digest.encode()) > RECORD["digest"].itemsize:
            raise ValueError(f"a content digest may have at most 64 characters, got `{digest}`")
        record = np.zeros(1, dtype=RECORD)
        record[0] = (key, digest.encode(), *frames, flags, 0)
        record["seal"] = _compute_seal(record.tobytes())
        with (self.folder / "journal").open("ab") as file:
            file.write(record.tobytes())
            number = file.tell() // RECORD.itemsize - 1
        self._end += frames.length
        return number

    def sync(self) -> None:
        """Flushes both files to disk (fsync)."""
        for name in ("frames", "journal"):
            with (self.folder / name).open("r+b") as file:
                os.fsync(file.fileno())


def map_frames(folder: Path, bands: int, frames: int) -> Frames:
    """Memory-maps the frames of a complete store, (frames, bands)."""
    if frames == 0:  # an empty file cannot be mapped
        return np.zeros((0, bands), dtype=np.float16)
    return np.memmap(folder / "frames", dtype=np.float16, mode="r", shape=(frames, bands))


def find_checksums(
    folder: Path, first: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Returns the CRC-32 of each clip's frames, (clips,); -1 if the journal has no record of it."""
    file = folder / "journal"
    checksums = np.full(len(first), -1, dtype=np.int64)
    count = file.stat().st_size // RECORD.itemsize if file.exists() else 0
    if count == 0 or len(first) == 0:
        return checksums
    records = np.memmap(file, dtype=RECORD, mode="r", shape=(count,))
    starts = np.ascontiguousarray(records["first"])
    order = np.argsort(starts, kind="stable")
    places = order[np.searchsorted(starts[order], first, side="right") - 1]
    is_same = (starts[places] == first) & (records["frames"][places] == lengths)
    checksums[is_same] = records["checksum"][places[is_same]]
    return checksums


def _compute_seal(record: bytes) -> int:
    return zlib.crc32(record[:-4])


def _count_valid_records(journal: Path) -> int:
    """Returns the number of records before the first one that a crash left unfinished."""
    size, count = RECORD.itemsize, 0
    with journal.open("rb") as file:
        while content := file.read(size * _CHUNK_RECORDS):
            seals = np.frombuffer(content[: len(content) // size * size], dtype=RECORD)["seal"]
            for place, seal in enumerate(seals):
                if _compute_seal(content[place * size : (place + 1) * size]) != seal:
                    return count
                count += 1
    return count
