"""The clips that a layout of folders lists, and the tables and lists of files that it reads."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Row = dict[str, str]


@dataclass
class LayoutRows:
    """The clips of a dataset, and notes about what is left out."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def create_labels(labels: Sequence[str]) -> Row:
    """Returns the columns of a clip with several labels."""
    return {"label": ";".join(labels), "first_label": labels[0]}


def read_table(file: Path) -> list[dict[str, str]]:
    """Reads a CSV file of a dataset. Raises `ValueError` if it is missing."""
    return list(csv.DictReader(read_lines(file)))


def read_lines(file: Path) -> list[str]:
    """Reads the lines of a text file of a dataset. Raises `ValueError` if it is missing."""
    if not file.is_file():
        raise ValueError(f"`{file}` is missing")
    return file.read_text(encoding="utf-8-sig").splitlines()
