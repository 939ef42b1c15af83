"""Stores string and array columns for millions of clips in memory, or memory-mapped from one file.

Rows are kept in a few large arrays: a Python object is made for a row only when it is accessed.
"""

import json
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ablate.core.io import open_atomically

Array = npt.NDArray[Any]
_MAGIC = b"ablate columns 3"  # ends with the version of the format
_ALIGNMENT = 64  # bytes; lets a column of any dtype be mapped in place


class StringColumn:
    """A column of strings, kept as their concatenated UTF-8 bytes and start offsets.

    Args:
        starts: int64 (rows + 1,), the offset at which each string starts, and the total length.
        text: uint8 (bytes,), all strings in UTF-8.
    """

    def __init__(self, starts: Array, text: Array) -> None:
        self._starts = starts
        self._text = text

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Self:
        """Builds a column, using little more memory than the encoded strings take."""
        builder = StringColumnBuilder()
        for text in texts:
            builder.append(text)
        return cls(*builder.arrays())

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        start, stop = self._starts[index], self._starts[index + 1]
        return bytes(self._text[start:stop]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: npt.NDArray[np.int64]) -> "StringColumn":
        """Returns the selected rows as a new column."""
        return StringColumn.from_texts(self[int(index)] for index in indices)

    def arrays(self) -> tuple[Array, Array]:
        """Returns `starts` and `text`, the arguments that rebuild this column."""
        return self._starts, self._text


class StringColumnBuilder:
    """Collects strings row by row for a `StringColumn`."""

    def __init__(self) -> None:
        self._starts = array("q", [0])
        self._text = bytearray()

    @classmethod
    def blank(cls, num_rows: int) -> Self:
        """Returns a builder that already holds `num_rows` empty strings."""
        builder = cls()
        builder._starts.extend([0] * num_rows)
        return builder

    def append(self, text: str) -> None:
        """Adds a row."""
        self._text += text.encode()
        self._starts.append(len(self._text))

    def arrays(self) -> tuple[Array, Array]:
        """Returns the arguments of `StringColumn`: int64 (rows + 1,) and uint8 (bytes,)."""
        starts = np.frombuffer(self._starts, dtype=np.int64)
        return starts, np.frombuffer(self._text, dtype=np.uint8)


class CategoricalColumn:
    """A column of strings with few distinct values.

    Args:
        categories: the distinct strings.
        codes: int32 (rows,), the index in `categories` of each row.
    """

    def __init__(self, categories: tuple[str, ...], codes: Array) -> None:
        self.categories = categories
        self.codes = codes

    def __getitem__(self, index: int) -> str:
        return self.categories[int(self.codes[index])]

    def get_code(self, category: str) -> int:
        """Returns the code of a category, or -1 if no row has it."""
        return self.categories.index(category) if category in self.categories else -1

    def equals(self, category: str) -> npt.NDArray[np.bool_]:
        """Returns which rows hold the category, (rows,)."""
        return np.asarray(self.codes == self.get_code(category))

    def take(self, indices: npt.NDArray[np.int64]) -> "CategoricalColumn":
        """Returns the selected rows; categories that no longer occur are dropped."""
        kept, codes = np.unique(self.codes[indices], return_inverse=True)
        return CategoricalColumn(
            tuple(self.categories[code] for code in kept), codes.astype(np.int32)
        )


class CategoricalBuilder:
    """Collects strings row by row for a `CategoricalColumn`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._rows = array("i")

    def append(self, text: str) -> None:
        """Adds a row."""
        self._rows.append(self._codes.setdefault(text, len(self._codes)))

    def build(self) -> CategoricalColumn:
        """Returns the column; its categories are in order of first appearance."""
        return CategoricalColumn(tuple(self._codes), np.frombuffer(self._rows, dtype=np.int32))


def write_columns(path: Path, facts: Mapping[str, Any], columns: Mapping[str, Array]) -> None:
    """Writes JSON metadata and columns into one file, atomically.

    Layout: magic and version, header length (int64), JSON header, then the columns, each aligned
    to 64 bytes, and the CRC-32 of all that (uint32).
    """
    layout, end = {}, 0
    for name, column in columns.items():
        layout[name] = [column.dtype.str, list(column.shape), end]
        end += -(-column.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps({"facts": dict(facts), "columns": layout, "bytes": end}).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGNMENT)
    checksum = 0
    with open_atomically(path) as file:
        for block in _list_blocks(header, columns.values()):
            file.write(block)
            checksum = zlib.crc32(block, checksum)
        file.write(struct.pack("<I", checksum))


def _list_blocks(header: bytes, columns: Iterable[Array]) -> Iterator[bytes | memoryview]:
    yield _MAGIC + struct.pack("<q", len(header)) + header
    for column in columns:
        yield np.ascontiguousarray(column).reshape(-1).view(np.uint8).data
        yield bytes(-column.nbytes % _ALIGNMENT)


def read_columns(path: Path) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Memory-maps a file written by `write_columns`.

    Returns the metadata and the columns, or None if the file is missing, truncated, damaged, or of
    another format or version: the caller then rebuilds it.
    """
    try:
        content: Array = np.memmap(path, dtype=np.uint8, mode="r")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # `ValueError`: the file is empty
        return None
    start = len(_MAGIC) + 8
    if bytes(content[: len(_MAGIC)]) != _MAGIC or len(content) < start + 4:
        return None
    content, checksum = content[:-4], struct.unpack("<I", bytes(content[-4:]))[0]
    if zlib.crc32(content.data) != checksum:
        return None
    (length,) = struct.unpack("<q", bytes(content[len(_MAGIC) : start]))
    header = json.loads(bytes(content[start : start + length]))
    start += length
    if len(content) != start + header["bytes"]:
        return None
    columns = {}
    for name, (kind, shape, offset) in header["columns"].items():
        dtype = np.dtype(kind)
        stop = start + offset + dtype.itemsize * int(np.prod(shape))
        columns[name] = np.asarray(content[start + offset : stop].view(dtype).reshape(shape))
    return header["facts"], columns
