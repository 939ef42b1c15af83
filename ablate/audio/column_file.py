"""Columns: what is known of millions of clips as a few arrays, in memory or mapped from one file.

No Python object is made for a row until that row is asked for.
"""

import json
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ablate.core.io import replacing

Array = npt.NDArray[Any]
_MAGIC = b"ablate columns 1"
_ALIGNED = 64  # bytes: any type may be mapped in place


class Strings:
    """Many texts as one: where each starts, and all their bytes."""

    def __init__(self, starts: Array, text: Array) -> None:
        self._starts = starts  # int64 (texts + 1,)
        self._text = text  # uint8 (bytes,), UTF-8

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Gathers texts, in little more memory than their bytes take."""
        written = Writing()
        for text in texts:
            written.append(text)
        return cls(*written.arrays())

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, index: int) -> str:
        start, stop = self._starts[index], self._starts[index + 1]
        return bytes(self._text[start:stop]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: npt.NDArray[np.int64]) -> "Strings":
        """Returns some of the texts."""
        return Strings.of(self[int(index)] for index in indices)

    def arrays(self) -> tuple[Array, Array]:
        """Returns starts and text, which `Strings` is made of again."""
        return self._starts, self._text


class Writing:
    """Texts on their way to become `Strings`."""

    def __init__(self) -> None:
        self._starts = array("q", [0])
        self._text = bytearray()

    @classmethod
    def blank(cls, number: int) -> Self:
        """Begins with some empty texts."""
        writing = cls()
        writing._starts.extend([0] * number)
        return writing

    def append(self, text: str) -> None:
        """Adds a text."""
        self._text += text.encode()
        self._starts.append(len(self._text))

    def arrays(self) -> tuple[Array, Array]:
        """Returns what `Strings` takes: int64 (texts + 1,) and uint8 (bytes,)."""
        starts = np.frombuffer(self._starts, dtype=np.int64)
        return starts, np.frombuffer(self._text, dtype=np.uint8)


class Coded:
    """Texts of which few differ: the words, in order of appearance, and a number for each row."""

    def __init__(self, words: tuple[str, ...], codes: Array) -> None:
        self.words = words
        self.codes = codes  # int32 (rows,)

    def __getitem__(self, index: int) -> str:
        return self.words[int(self.codes[index])]

    def code(self, word: str) -> int:
        """Returns the number of a word, or one that no row has."""
        return self.words.index(word) if word in self.words else -1

    def equals(self, word: str) -> npt.NDArray[np.bool_]:
        """Tells the rows that hold a word, (rows,)."""
        return np.asarray(self.codes == self.code(word))

    def take(self, indices: npt.NDArray[np.int64]) -> "Coded":
        """Returns some of the rows, and the words that are left, in their order."""
        kept, codes = np.unique(self.codes[indices], return_inverse=True)
        return Coded(tuple(self.words[code] for code in kept), codes.astype(np.int32))


class Coding:
    """Texts on their way to become `Coded`."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._rows = array("i")

    def append(self, text: str) -> None:
        """Adds a row."""
        self._rows.append(self._codes.setdefault(text, len(self._codes)))

    def coded(self) -> Coded:
        """Returns the column of all rows that were added."""
        return Coded(tuple(self._codes), np.frombuffer(self._rows, dtype=np.int32))


def write_columns(path: Path, facts: Mapping[str, Any], columns: Mapping[str, Array]) -> None:
    """Writes facts (JSON) and columns into one file, at once."""
    places, end = {}, 0
    for name, column in columns.items():
        places[name] = [column.dtype.str, list(column.shape), end]
        end += -(-column.nbytes // _ALIGNED) * _ALIGNED
    header = json.dumps({"facts": dict(facts), "columns": places, "bytes": end}).encode()
    header += b" " * (-(len(_MAGIC) + 8 + len(header)) % _ALIGNED)
    with replacing(path) as file:
        file.write(_MAGIC + struct.pack("<q", len(header)) + header)
        for column in columns.values():
            file.write(np.ascontiguousarray(column).data)
            file.write(bytes(-column.nbytes % _ALIGNED))


def read_columns(path: Path) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """Maps what `write_columns` wrote; None if there is no such file, or another kind of file."""
    try:
        whole = np.memmap(path, dtype=np.uint8, mode="r")
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a `ValueError` is an empty file
        return None
    start = len(_MAGIC) + 8
    if bytes(whole[: len(_MAGIC)]) != _MAGIC:
        return None
    (length,) = struct.unpack("<q", bytes(whole[len(_MAGIC) : start]))
    header = json.loads(bytes(whole[start : start + length]))
    start += length
    if len(whole) != start + header["bytes"]:
        return None
    columns = {}
    for name, (kind, shape, place) in header["columns"].items():
        dtype = np.dtype(kind)
        stop = start + place + dtype.itemsize * int(np.prod(shape))
        columns[name] = np.asarray(whole[start + place : stop].view(dtype).reshape(shape))
    return header["facts"], columns
