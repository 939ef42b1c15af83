"""Tasks: labels that probes predict, and which clips are for training, validation and test."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import (
    Event,
    LabelKind,
    infer_label_kind,
    parse_classes,
    parse_events,
    parse_numbers,
)
from ablate.audio.clips import ClipInfo, ClipTable
from ablate.audio.column_file import StringColumn
from ablate.audio.segments import FRAGMENT

Indices = npt.NDArray[np.int64]
# (clips,), multi-label (clips, classes), or numbers as float32 (clips, names of numbers)
Labels = npt.NDArray[np.int64] | npt.NDArray[np.bool_] | npt.NDArray[np.float32]

GROUP_COLUMN = "group"  # column of a manifest


@dataclass(frozen=True)
class Split:
    """Clips of a task to train on, to select by, and to predict, as positions in the task."""

    train: Indices
    valid: Indices  # may be empty; with three folds or more it is one of the folds of `train`
    query: Mapping[str, Indices]  # part or fold -> clips


@dataclass(frozen=True)
class Task:
    """One task on some clips of a store."""

    name: str
    kind: LabelKind
    classes: tuple[str, ...]  # or the names of the numbers to predict
    clips: Indices  # positions in the store; all other indices are positions in this array
    labels: Labels
    parts: dict[str, Indices]  # split (train, valid, test) or fold -> clips
    folded: bool
    events: tuple[tuple[Event, ...], ...] = field(default=())  # per clip, for a task of events
    paths: StringColumn | None = None  # all clips of the store

    def splits(self) -> Iterator[Split]:
        """Yields the one split of the data set, or one split per fold that is held out."""
        nothing = np.zeros(0, dtype=np.int64)
        if not self.folded:
            query = {part: self.parts[part] for part in self.parts if part in ("valid", "test")}
            train = self.parts.get("train", nothing)
            yield Split(train, self.parts.get("valid", nothing), query)
            return
        names = list(self.parts)
        for place, name in enumerate(names):
            rest = np.concatenate([self.parts[other] for other in names if other != name])
            valid = self.parts[names[place - 1]] if len(names) > 2 else nothing
            yield Split(rest, valid, {name: self.parts[name]})


def find_tasks(clips: ClipTable | Iterable[ClipInfo]) -> list[Task]:
    """Finds the tasks among clips, by name. Raises `ValueError` for labels that cannot be read."""
    table = ClipTable.from_clips(clips)
    return [_build_task(name, table) for name in sorted(table.tasks.categories)]


def select_pretraining_clips(clips: ClipTable | Iterable[ClipInfo]) -> Indices:
    """Selects the clips to pre-train on: the training split, or all clips of a task with folds.

    Folds only divide the labels, as is usual for ESC-50: each is held out once by the probes. A
    recording that appears in several tasks is selected once.
    """
    table = ClipTable.from_clips(clips)
    selected = np.flatnonzero(~table.folds.equals("") | table.splits.equals("train"))
    recordings = table.first_with_path[selected]
    first = np.full(len(table), len(table))  # first selected clip of each recording
    np.minimum.at(first, recordings, selected)
    unique: Indices = selected[first[recordings] == selected]
    return unique


def find_clip_groups(clips: ClipTable, rows: Indices) -> tuple[Indices, tuple[str, ...]]:
    """Finds which clips are not independent: of one speaker, for example, or of one recording.

    Args:
        clips: Clips whose column `group` names what they share; where it is blank, clips of one
            recording belong together.
        rows: Positions in `clips`, (rows,); may repeat.

    Returns:
        The group of each row, (rows,), and the names of the groups.
    """
    column = clips.extra.get(GROUP_COLUMN)
    unique, where = np.unique(rows, return_inverse=True)
    names = []
    for row in unique.tolist():
        name = "" if column is None else column[row]
        names.append(name or clips.paths[row].partition(FRAGMENT)[0])
    distinct, numbers = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return numbers[where].astype(np.int64), tuple(distinct.tolist())


def has_shared_recordings(clips: ClipTable) -> bool:
    """Checks whether a recording has clips in several tasks, which then are not independent."""
    codes = clips.tasks.codes
    return bool((codes != codes[clips.first_with_path]).any())


def _build_task(name: str, table: ClipTable) -> Task:
    clips = np.flatnonzero(table.tasks.equals(name))
    column = table.labels.take(clips)
    kind = infer_label_kind(column.categories)
    classes_by_label = [parse_classes(label, kind) for label in column.categories]
    classes = tuple(sorted({name for names in classes_by_label for name in names}))
    numbers = {name: number for number, name in enumerate(classes)}
    labels: Labels
    if kind == "single":
        single = [numbers[label] for label in column.categories]
        labels = np.array(single, dtype=np.int64)[column.codes]
    elif kind == "numbers":
        by_name = [parse_numbers(label) for label in column.categories]
        values = [[numbers_of[name] for name in classes] for numbers_of in by_name]
        labels = np.array(values, dtype=np.float32)[column.codes]
    else:
        holds = [[name in names for name in classes] for names in classes_by_label]
        labels = np.array(holds, dtype=np.bool_)[column.codes]
    events = [parse_events(label) for label in column.categories] if kind == "events" else []
    folded = not table.folds.equals("")[clips].all()
    part_names = (table.folds if folded else table.splits).take(clips)
    return Task(
        name,
        kind,
        classes,
        clips,
        labels,
        {part: np.flatnonzero(part_names.equals(part)) for part in sorted(part_names.categories)},
        folded,
        tuple(events[code] for code in column.codes) if events else (),
        table.paths,
    )
