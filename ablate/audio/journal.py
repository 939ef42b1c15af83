"""The files of a clip store: what was decoded stays decoded, whenever the process is killed.

`frames` holds the frames of all clips, float16, one clip after the other, and is only ever
appended to: a trial that has it mapped is never disturbed. `journal` gets a line for each clip,
after its frames. `index` is written last, by an atomic rename: it says that a store is complete.
"""

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ablate.files import write_atomically

Frames = npt.NDArray[np.float16]  # (frames, bands)


@dataclass(frozen=True)
class Row:
    """One clip's content: where its frames lie, or the reason why there are none."""

    path: str
    stamp: str
    digest: str = ""  # of the content
    first: int = 0  # frame
    frames: int = 0
    checksum: int = 0  # of the frames: a line may reach the disk before what it speaks of
    reason: str = ""


class Journal:
    """The store's files, open for one builder at a time."""

    def __init__(self, folder: Path, bands: int) -> None:
        self._folder = folder
        self._bands = bands
        rows = list(_lines(folder / "journal"))
        self._end = max((row.first + row.frames for row in rows), default=0)
        self._rows = {(row.path, row.stamp): row for row in rows}
        # drops a torn last line, and frames that no line speaks of
        write_atomically(folder / "journal", "".join(_line(row) for row in rows))
        (folder / "frames").touch()
        if (folder / "frames").stat().st_size > self._end * self._frame_bytes:
            os.truncate(folder / "frames", self._end * self._frame_bytes)

    def find(self, path: str, stamp: str) -> Row | None:
        """Returns what was decoded of a file before, if its frames are still sound."""
        row = self._rows.get((path, stamp))
        if row is None:
            return None
        with (self._folder / "frames").open("rb") as file:
            file.seek(row.first * self._frame_bytes)
            found = file.read(row.frames * self._frame_bytes)
        return row if zlib.crc32(found) == row.checksum else None

    def append(self, path: str, stamp: str, digest: str, frames: Frames) -> Row:
        """Writes one clip's frames, and then the line that makes them count."""
        content = np.ascontiguousarray(frames).tobytes()
        row = Row(path, stamp, digest, self._end, len(frames), zlib.crc32(content))
        with (self._folder / "frames").open("r+b") as file:
            file.seek(row.first * self._frame_bytes)
            file.write(content)
        with (self._folder / "journal").open("a", encoding="utf-8") as file_of_lines:
            file_of_lines.write(_line(row))
        self._end += row.frames
        return row

    def commit(self, listing: str, rows: Iterable[Row]) -> None:
        """Declares the store complete for a listing of clips."""
        with (self._folder / "frames").open("r+b") as file:
            os.fsync(file.fileno())
        content = {"listing": listing, "rows": [list(asdict(row).values()) for row in rows]}
        write_atomically(self._folder / "index", json.dumps(content))

    @property
    def _frame_bytes(self) -> int:
        return 2 * self._bands


def committed(folder: Path, listing: str) -> list[Row] | None:
    """Returns the rows of a complete store, or None if there is none for this listing."""
    try:
        content = json.loads((folder / "index").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return [Row(*row) for row in content["rows"]] if content["listing"] == listing else None


def mapped(folder: Path, bands: int, rows: Iterable[Row]) -> Frames:
    """Maps the frames of a complete store into memory, (all frames, bands)."""
    frames = max(row.first + row.frames for row in rows)
    if frames == 0:  # every clip was left out, and nothing cannot be mapped
        return np.zeros((0, bands), dtype=np.float16)
    return np.memmap(folder / "frames", dtype=np.float16, mode="r", shape=(frames, bands))


def _line(row: Row) -> str:
    return json.dumps(list(asdict(row).values())) + "\n"


def _lines(journal: Path) -> Iterable[Row]:
    if not journal.exists():
        return
    with journal.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield Row(*json.loads(line))
            except (json.JSONDecodeError, TypeError):
                return  # the line that a killed process was writing
