"""Reads CSV files as spreadsheets and scripts write them.

Separators `,`, `;`, tab and `|`; UTF-8 and UTF-16 with or without a byte order mark; a line `sep=;`
before the header; empty lines; an index column without a name.
"""

import codecs
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

_MARKS = (  # UTF-32 first, because its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ",;\t|"


class CsvRow(NamedTuple):
    """One row of a table."""

    line: int  # in the file, counted from 1
    cells: dict[str, str]  # by column, stripped
    surplus: bool  # whether there are more cells than columns


class CsvTable:
    """A CSV file whose rows are read one after the other.

    Args:
        file: the file.
        required: the column that the header must have; it decides which separator is used.

    Attributes:
        columns: the names in the header, without empty ones.

    Raises:
        ValueError: for a file that is not text, and a header that names a column twice.
    """

    def __init__(self, file: Path, required: str) -> None:
        self._file = file
        self._encoding = _detect_encoding(file)
        with self._open() as text:
            first = text.readline()
            self._skips_line = first.lower().startswith("sep=")
            if self._skips_line:
                self._separator = first[4:5].strip("\r\n") or ","
                first = text.readline()
            else:
                self._separator = _detect_separator(first, required)
        header = next(csv.reader([first], delimiter=self._separator, skipinitialspace=True), [])
        self._names = [name.strip().lstrip("\ufeff") for name in header]
        self.columns = [name for name in self._names if name]
        repeated = [name for name, times in Counter(self.columns).items() if times > 1]
        if repeated:
            names = ", ".join(f"`{name}`" for name in repeated)
            raise ValueError(
                f"`{file}` has more than one column {names}; rename or remove all but one"
            )

    def rows(self) -> Iterator[CsvRow]:
        """Yields the rows that are not empty. Raises `ValueError` for bytes that are not text."""
        with self._open() as text:
            if self._skips_line:
                text.readline()
            reader = csv.reader(text, delimiter=self._separator, skipinitialspace=True)
            before = int(self._skips_line)
            next(reader, None)
            for values in reader:
                if not any(value.strip() for value in values):
                    continue
                cells = dict.fromkeys(self.columns, "")
                cells |= {
                    name: value.strip()
                    for name, value in zip(self._names, values, strict=False)
                    if name
                }
                surplus = any(value.strip() for value in values[len(self._names) :])
                yield CsvRow(reader.line_num + before, cells, surplus)

    def _open(self) -> TextIO:
        return self._file.open(newline="", encoding=self._encoding)


def _detect_encoding(file: Path) -> str:
    with file.open("rb") as content:
        start = content.read(1 << 12)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if b"\0" in start[:2]:
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return "utf-8-sig"


def _detect_separator(header: str, required: str) -> str:
    """Returns the separator with which the header has the required column, or most columns."""

    def split(separator: str) -> list[str]:
        names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
        return [name.strip().lstrip("\ufeff") for name in names]

    fitting = [separator for separator in _SEPARATORS if required in split(separator)]
    return max(fitting or _SEPARATORS, key=lambda separator: len(split(separator)))
