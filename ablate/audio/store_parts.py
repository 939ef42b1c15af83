"""Parts of a clip store that several jobs decode at once, each into files of its own.

A part has a journal and frames like the store itself. Whoever builds the store copies them, clip by
clip in the order of the source: its bytes do not depend on whether it was decoded in parts.
"""

import logging
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from ablate.audio.clip_decoder import write_clip
from ablate.audio.clip_decoding import ClipFacts, Decoding
from ablate.audio.store_journal import Journal, Keys, find_last_records, read_records
from ablate.core.io import DamagedFileError

FOLDER = "parts"  # in the folder of the store
LOCK = "lock"  # held by the process that decodes a part
_BLOCK = 1 << 13  # frames read at once

logger = logging.getLogger(__name__)


def get_part_folder(store: Path, number: int, count: int) -> Path:
    """Returns the folder of one of `count` parts, numbered from 0, of the store in a folder."""
    return store / FOLDER / f"{number}-of-{count}"


class DecodedParts:
    """What the parts of a store have decoded, for the process that builds the store.

    Args:
        store: folder of the store.
        bands: number of mel bands.
        keys: (clips, 2), the keys of the source's clips.
    """

    def __init__(self, store: Path, bands: int, keys: Keys) -> None:
        self._bands = bands
        self._folders = sorted(file.parent for file in store.glob(f"{FOLDER}/*/journal"))
        self._records = [read_records(folder) for folder in self._folders]
        self._part: npt.NDArray[np.int64] = np.full(len(keys), -1)
        self._row: npt.NDArray[np.int64] = np.full(len(keys), -1)
        for number, records in enumerate(self._records):
            rows = find_last_records(records, keys)
            self._part[rows >= 0] = number
            self._row[rows >= 0] = rows[rows >= 0]
        self._copied_from = -1

    @property
    def has(self) -> npt.NDArray[np.bool_]:
        """Which clips some part has decoded, (clips,)."""
        has: npt.NDArray[np.bool_] = self._part >= 0
        return has

    def copy(self, index: int, key: Keys, journal: Journal) -> int | None:
        """Copies a clip into the store; returns its record, or None if no part has it intact.

        A part that was copied completely is deleted once the next one is copied from.
        """
        part = int(self._part[index])
        if part < 0:
            return None
        if part != self._copied_from:
            self.delete_copied(journal)
            self._copied_from = part
        try:
            return write_clip(self._read(part, int(self._row[index])), key, journal)
        except DamagedFileError as error:
            logger.warning("%s %s: the clip is decoded again", error.path, error.problem)
            return None

    def delete_copied(self, journal: Journal) -> None:
        """Deletes the parts whose clips are all in the journal, unless some process writes them."""
        for folder, records in zip(self._folders, self._records, strict=True):
            keys = np.ascontiguousarray(records["key"])
            if not folder.is_dir() or np.any(find_last_records(journal.records, keys) < 0):
                continue
            journal.sync()
            try:
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder)
            except Timeout:
                logger.info("%s is being written; it is kept", folder)
        for folder in {folder.parent for folder in self._folders}:
            with suppress(OSError):  # others are left in it
                folder.rmdir()

    def _read(self, part: int, row: int) -> Decoding:
        """Yields the frames of a clip and returns its facts. Raises `DamagedFileError`."""
        record, file = self._records[part][row], self._folders[part] / "frames"
        left, checksum = int(record["frames"]), 0
        with _open_part(file) as frames:
            frames.seek(int(record["first"]) * 2 * self._bands)
            while left:
                content = frames.read(min(left, _BLOCK) * 2 * self._bands)
                if len(content) != min(left, _BLOCK) * 2 * self._bands:
                    raise DamagedFileError(file, "is too short")
                checksum = zlib.crc32(content, checksum)
                left -= len(content) // (2 * self._bands)
                yield np.frombuffer(content, dtype=np.float16).reshape(-1, self._bands)
        if checksum != int(record["checksum"]):
            raise DamagedFileError(file, "does not match a checksum")
        return ClipFacts(bytes(record["digest"]).decode(), int(record["flags"]))


def _open_part(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except FileNotFoundError as error:
        raise DamagedFileError(file, "is missing") from error
