"""The table of clips: what is known of each without hearing it, a column for each thing known."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ablate.audio.column_file import Array, Coded, Coding, Strings, Writing


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip without hearing it. Either `split` or `fold` is given."""

    path: str  # relative to the manifest, with `/`
    label: str  # a cell as `ablate.audio.annotations` reads it; empty where there is none
    task: str
    split: str = ""  # train, valid or test
    fold: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # further columns of the manifest


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips in the order that their source lists them; a row is seen as a `ClipInfo`."""

    paths: Strings
    labels: Coded
    tasks: Coded
    splits: Coded
    folds: Coded
    extra: Mapping[str, Strings]
    sounds: npt.NDArray[np.int64]  # (clips,), for each the first clip of the same path

    @staticmethod
    def from_clips(clips: "ClipTable | Iterable[ClipInfo]") -> "ClipTable":
        """Gathers clips into a table; one that is a table stays as it is."""
        if isinstance(clips, ClipTable):
            return clips
        table = ClipWriting()
        for clip in clips:
            table.append(clip)
        return table.clips()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> ClipInfo:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)}")
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
        """Returns the table of some clips; of all of them, itself."""
        if np.array_equal(indices, np.arange(len(self))):
            return self
        _, first, which = np.unique(self.sounds[indices], return_index=True, return_inverse=True)
        return ClipTable(
            self.paths.take(indices),
            self.labels.take(indices),
            self.tasks.take(indices),
            self.splits.take(indices),
            self.folds.take(indices),
            {name: column.take(indices) for name, column in self.extra.items()},
            first[which],
        )

    def columns(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Returns facts and columns that `from_columns` makes the table of again."""
        coded = {name: getattr(self, name) for name in _CODED}
        texts = {"paths": self.paths, **{f"extra {k}": v for k, v in self.extra.items()}}
        words = {name: column.words for name, column in coded.items()}
        columns = {name: column.codes for name, column in coded.items()}
        for name, column in texts.items():
            columns[f"{name} starts"], columns[f"{name} text"] = column.arrays()
        return {"words": words, "extra": list(self.extra)}, {**columns, "sounds": self.sounds}

    @staticmethod
    def from_columns(facts: Mapping[str, Any], columns: Mapping[str, Array]) -> "ClipTable":
        """Makes a table again of what `columns` gave; the arrays may lie on disk."""

        def text(name: str) -> Strings:
            return Strings(columns[f"{name} starts"], columns[f"{name} text"])

        return ClipTable(
            paths=text("paths"),
            **{name: Coded(tuple(facts["words"][name]), columns[name]) for name in _CODED},
            extra={name: text(f"extra {name}") for name in facts["extra"]},
            sounds=columns["sounds"],
        )


_CODED = ("labels", "tasks", "splits", "folds")


class ClipWriting:
    """Clips on their way to become a table."""

    def __init__(self) -> None:
        self._paths = Writing()
        self._coded = {name: Coding() for name in _CODED}
        self._extra: dict[str, Writing] = {}
        self._names = array("Q")  # two numbers for each path, which no other path has

    def __len__(self) -> int:
        return len(self._names) // 2

    def append(self, clip: ClipInfo) -> None:
        """Adds a clip; where it brings a further column, earlier clips are blank there."""
        self._paths.append(clip.path)
        cells = (clip.label, clip.task, clip.split, clip.fold)
        for coding, cell in zip(self._coded.values(), cells, strict=True):
            coding.append(cell)
        for name in clip.extra:
            if name not in self._extra:
                self._extra[name] = Writing.blank(len(self))
        for name, column in self._extra.items():
            column.append(clip.extra.get(name, ""))
        self._names.frombytes(hashlib.blake2b(clip.path.encode(), digest_size=16).digest())

    def clips(self) -> ClipTable:
        """Returns the table of all clips that were added, in that order."""
        return ClipTable(
            paths=Strings(*self._paths.arrays()),
            **{name: coding.coded() for name, coding in self._coded.items()},
            extra={name: Strings(*column.arrays()) for name, column in self._extra.items()},
            sounds=_first_of_equals(np.frombuffer(self._names, dtype=np.uint64).reshape(-1, 2)),
        )


def digest_of(clips: ClipTable, content: Callable[[int], str]) -> str:
    """Hashes the data as training meets it: the same clips, labels and order hash alike anywhere.

    `content` names a clip's sound, given its index. Which clips a seed puts into one batch depends
    on the order they are listed in, so another order is other data. Returns 32 hex digits.
    """
    hashed = hashlib.blake2b(digest_size=16)
    for index in range(len(clips)):
        told = (clips.labels, clips.tasks, clips.splits, clips.folds)
        row = [clips.paths[index], *(column[index] for column in told), content(index)]
        hashed.update(json.dumps(row).encode())
    return hashed.hexdigest()


def digest_list(clips: ClipTable) -> str:
    """Hashes everything that a list of clips holds, in 32 hex digits."""
    hashed = hashlib.blake2b(digest_size=16)
    for clip in clips:
        hashed.update(json.dumps(asdict(clip), sort_keys=True).encode())
    return hashed.hexdigest()


def _first_of_equals(names: Array) -> npt.NDArray[np.int64]:
    """For each row of (rows, 2), finds the first row that equals it."""
    order = np.lexsort((names[:, 1], names[:, 0]))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (names[order[1:]] != names[order[:-1]]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    return first
