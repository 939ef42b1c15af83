"""The files of a clip store: what was decoded stays decoded, whenever the process is killed.

`frames` holds the frames of all clips, float16, one clip after the other, and is only ever
appended to: a trial that has it mapped is never disturbed. `journal` gets a record for each clip,
after its frames. An index is written last, by an atomic rename: it says that a store is complete.
Sources that read the same sounds, and say other things of them, have an index each in one folder.
"""

import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ablate.audio.column_file import Array

Frames = npt.NDArray[np.float16]  # (frames, bands)
Keys = npt.NDArray[np.uint64]  # (clips, 2): a file as it is now; zeros where there is none

RECORD = np.dtype(
    [
        ("key", "<u8", (2,)),
        ("digest", "S64"),  # of the content
        ("first", "<i8"),  # frame
        ("frames", "<i8"),
        ("checksum", "<u4"),  # of the frames: a record may reach the disk before what it is of
        ("silent", "<u4"),
        ("seal", "<u4"),  # of the record
    ]
)
_READ_AT_ONCE = 1 << 16  # records


def compute_file_key(path: str, stamp: str | None) -> bytes:
    """Names a file as it is now, in 16 bytes: zeros for one that is missing."""
    if stamp is None:
        return bytes(16)
    return hashlib.blake2b(f"{path}\0{stamp}".encode(), digest_size=16).digest()


class Journal:
    """The store's files, open for one builder at a time.

    Frames that begin at `synced`, (clips,), are known to have reached the disk.
    """

    def __init__(self, folder: Path, bands: int, synced: npt.NDArray[np.int64]) -> None:
        self._folder = folder
        self._frame_bytes = 2 * bands
        for name in ("journal", "frames"):
            (folder / name).touch()
        sound = _sealed(folder / "journal")
        os.truncate(folder / "journal", sound * RECORD.itemsize)  # drops a torn last record
        records = self.records
        self._synced = np.isin(records["first"], synced)  # (records,), of those there are now
        # frames that no record speaks of stay: where a journal was damaged, an index may
        written = -(-(folder / "frames").stat().st_size // self._frame_bytes)
        self._end = max(written, int((records["first"] + records["frames"]).max(initial=0)))

    @property
    def records(self) -> Array:
        """Maps all records, of `RECORD`."""
        if (self._folder / "journal").stat().st_size == 0:  # nothing cannot be map_frames
            return np.zeros(0, dtype=RECORD)
        return np.memmap(self._folder / "journal", dtype=RECORD, mode="r")

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Returns the last record of each of some files, (files,); -1 where there is none."""
        known = np.ascontiguousarray(self.records["key"])
        if len(known) == 0:
            return np.full(len(keys), -1)
        order = np.argsort(known[:, 0], kind="stable")
        places = np.searchsorted(known[order, 0], keys[:, 0], side="right") - 1
        found = order[places]  # a key below all others wraps around, to one that differs
        return np.where((known[found] == keys).all(axis=1) & keys.any(axis=1), found, -1)

    def is_intact(self, number: int) -> bool:
        """Whether an old record's frames are on disk as written; synced ones are not read."""
        if self._synced[number]:
            return True
        record = self.records[number]
        with (self._folder / "frames").open("rb") as file:
            file.seek(int(record["first"]) * self._frame_bytes)
            found = file.read(int(record["frames"]) * self._frame_bytes)
        return zlib.crc32(found) == int(record["checksum"])

    def append(self, key: Keys, digest: str, frames: Frames, *, silent: bool) -> int:
        """Writes one clip's frames, then the record that makes them count; returns its number.

        Raises `ValueError` for a digest of more than 64 characters.
        """
        if len(digest.encode()) > RECORD["digest"].itemsize:
            raise ValueError(f"a content digest holds 64 characters at most, got `{digest}`")
        content = np.ascontiguousarray(frames).tobytes()
        record = np.zeros(1, dtype=RECORD)
        record[0] = (key, digest.encode(), self._end, len(frames), zlib.crc32(content), silent, 0)
        record["seal"] = _seal(record.tobytes())
        with (self._folder / "frames").open("r+b") as file:
            file.seek(self._end * self._frame_bytes)
            file.write(content)
        with (self._folder / "journal").open("ab") as file:
            file.write(record.tobytes())
            number = file.tell() // RECORD.itemsize - 1
        self._end += len(frames)
        return number

    def sync(self) -> None:
        """Has all that was written reach the disk."""
        for name in ("frames", "journal"):
            with (self._folder / name).open("r+b") as file:
                os.fsync(file.fileno())


def map_frames(folder: Path, bands: int, frames: int) -> Frames:
    """Maps the frames of a complete store into memory, (frames, bands)."""
    if frames == 0:  # nothing cannot be map_frames
        return np.zeros((0, bands), dtype=np.float16)
    return np.memmap(folder / "frames", dtype=np.float16, mode="r", shape=(frames, bands))


def _seal(record: bytes) -> int:
    return zlib.crc32(record[:-4])


def _sealed(journal: Path) -> int:
    """Counts the records up to the first that a crash left unfinished."""
    size, count = RECORD.itemsize, 0
    with journal.open("rb") as file:
        while content := file.read(size * _READ_AT_ONCE):
            seals = np.frombuffer(content[: len(content) // size * size], dtype=RECORD)["seal"]
            for place, seal in enumerate(seals):
                if _seal(content[place * size : (place + 1) * size]) != seal:
                    return count
                count += 1
    return count
