"""The table of a source's clips: paths, labels, tasks and splits, stored as columns."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ablate.audio.column_file import (
    Array,
    CategoricalBuilder,
    CategoricalColumn,
    StringColumn,
    StringColumnBuilder,
)


@dataclass(frozen=True)
class ClipInfo:
    """The metadata of one clip. Either `split` or `fold` is set.

    Example:
        >>> from ablate import ClipInfo
        >>> ClipInfo("dog.wav", "dog", task="pets", split="train").label
        'dog'
    """

    path: str  # relative to the manifest, with `/`
    label: str  # in the syntax of `ablate.audio.annotations`; empty for an unlabelled clip
    task: str
    split: str = ""  # train, valid or test
    fold: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # further columns of the manifest


@dataclass(frozen=True, eq=False)
class ClipTable:
    """A table of clips in the order of their source; a row is read as a `ClipInfo`.

    Example:
        >>> from ablate import ClipInfo, ClipTable
        >>> clips = ClipTable.from_clips([ClipInfo("dog.wav", "dog", "pets", split="train")])
        >>> clips[0].label, len(clips)
        ('dog', 1)
    """

    paths: StringColumn
    labels: CategoricalColumn
    tasks: CategoricalColumn
    splits: CategoricalColumn
    folds: CategoricalColumn
    extra: Mapping[str, StringColumn]
    first_with_path: npt.NDArray[np.int64]  # (clips,), index of the first clip of the same path

    @staticmethod
    def from_clips(clips: "ClipTable | Iterable[ClipInfo]") -> "ClipTable":
        """Builds a table; an argument that already is one is returned unchanged."""
        if isinstance(clips, ClipTable):
            return clips
        builder = ClipTableBuilder()
        for clip in clips:
            builder.append(clip)
        return builder.build()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ClipInfo:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"clip index {index} is out of range for {len(self)} clips")
        extra = {name: column[index] for name, column in self.extra.items()}
        return ClipInfo(
            self.paths[index],
            self.labels[index],
            self.tasks[index],
            self.splits[index],
            self.folds[index],
            extra,
        )

    def __iter__(self) -> Iterator[ClipInfo]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: npt.NDArray[np.int64]) -> "ClipTable":
        """Returns a table of the selected clips, or this table if all are selected in order."""
        if np.array_equal(indices, np.arange(len(self))):
            return self
        _, first, which = np.unique(
            self.first_with_path[indices], return_index=True, return_inverse=True
        )
        return ClipTable(
            self.paths.take(indices),
            self.labels.take(indices),
            self.tasks.take(indices),
            self.splits.take(indices),
            self.folds.take(indices),
            {name: column.take(indices) for name, column in self.extra.items()},
            first[which],
        )

    def to_columns(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns the metadata and arrays from which `from_columns` rebuilds the table."""
        categorical = {name: getattr(self, name) for name in _CATEGORICAL}
        strings = {"paths": self.paths, **{f"extra {k}": v for k, v in self.extra.items()}}
        categories = {name: column.categories for name, column in categorical.items()}
        columns = {name: column.codes for name, column in categorical.items()}
        for name, column in strings.items():
            columns[f"{name} starts"], columns[f"{name} text"] = column.arrays()
        columns["first_with_path"] = self.first_with_path
        return {"categories": categories, "extra": list(self.extra)}, columns

    @staticmethod
    def from_columns(facts: Mapping[str, Any], columns: Mapping[str, Array]) -> "ClipTable":
        """Rebuilds a table from the result of `to_columns`; the arrays may be memory-mapped."""

        def strings(name: str) -> StringColumn:
            return StringColumn(columns[f"{name} starts"], columns[f"{name} text"])

        return ClipTable(
            paths=strings("paths"),
            **{
                name: CategoricalColumn(tuple(facts["categories"][name]), columns[name])
                for name in _CATEGORICAL
            },
            extra={name: strings(f"extra {name}") for name in facts["extra"]},
            first_with_path=columns["first_with_path"],
        )


_CATEGORICAL = ("labels", "tasks", "splits", "folds")


class ClipTableBuilder:
    """Collects clips row by row for a `ClipTable` table."""

    def __init__(self) -> None:
        self._paths = StringColumnBuilder()
        self._categorical = {name: CategoricalBuilder() for name in _CATEGORICAL}
        self._extra: dict[str, StringColumnBuilder] = {}
        self._path_hashes = array("Q")  # 128 bits per path, as two numbers

    def __len__(self) -> int:
        return len(self._path_hashes) // 2

    def append(self, clip: ClipInfo) -> None:
        """Adds a clip; for an extra column seen for the first time, earlier clips are blank."""
        self._paths.append(clip.path)
        cells = (clip.label, clip.task, clip.split, clip.fold)
        for builder, cell in zip(self._categorical.values(), cells, strict=True):
            builder.append(cell)
        for name in clip.extra:
            if name not in self._extra:
                self._extra[name] = StringColumnBuilder.blank(len(self))
        for name, column in self._extra.items():
            column.append(clip.extra.get(name, ""))
        self._path_hashes.frombytes(hashlib.blake2b(clip.path.encode(), digest_size=16).digest())

    def build(self) -> ClipTable:
        """Returns the table of all clips added so far, in that order."""
        hashes = np.frombuffer(self._path_hashes, dtype=np.uint64).reshape(-1, 2)
        return ClipTable(
            paths=StringColumn(*self._paths.arrays()),
            **{name: builder.build() for name, builder in self._categorical.items()},
            extra={name: StringColumn(*column.arrays()) for name, column in self._extra.items()},
            first_with_path=_find_first_equal_rows(hashes),
        )


def compute_digest(clips: ClipTable, content: Callable[[int], str]) -> str:
    """Hashes the clips, their labels, their audio and their order; independent of the machine.

    The order is included because it decides which clips a seed puts into one batch.

    Args:
        clips: the table to hash.
        content: returns the digest of a clip's audio, given the clip's index.

    Returns:
        32 hex digits.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for index in range(len(clips)):
        columns = (clips.labels, clips.tasks, clips.splits, clips.folds)
        row = [clips.paths[index], *(column[index] for column in columns), content(index)]
        hasher.update(json.dumps(row).encode())
    return hasher.hexdigest()


def compute_list_digest(clips: ClipTable) -> str:
    """Hashes all metadata of the clips, in their order. Returns 32 hex digits."""
    hasher = hashlib.blake2b(digest_size=16)
    for clip in clips:
        hasher.update(json.dumps(asdict(clip), sort_keys=True).encode())
    return hasher.hexdigest()


def _find_first_equal_rows(rows: Array) -> npt.NDArray[np.int64]:
    """Returns, for each row of (rows, 2), the index of the first row equal to it."""
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first
