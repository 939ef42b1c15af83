"""Tasks: the labels that probes are asked for, which clips they learn from and are tested on."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import Event, LabelKind, infer_label_kind, parse_classes, parse_events
from ablate.audio.clips import ClipInfo, ClipTable

Indices = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.bool_]  # (clips,), or (clips, classes): several


@dataclass(frozen=True)
class Examination:
    """What a probe may learn from, choose by, and is examined on: places in a task's clips."""

    known: Indices
    valid: Indices  # or none; of three folds or more, the one before that held out, also `known`
    asked: Mapping[str, Indices]


@dataclass(frozen=True)
class Task:
    """One task over some clips of a store."""

    name: str
    kind: LabelKind
    classes: tuple[str, ...]
    clips: Indices  # in the store; all else counts from 0 within them
    labels: Labels
    parts: dict[str, Indices]  # split -> clips of it; of folds, one part each
    folded: bool
    events: tuple[tuple[Event, ...], ...] = field(default=())  # of each clip, where times are told

    def examinations(self) -> Iterator[Examination]:
        """Yields the one examination of splits, or one for each fold held out."""
        nothing = np.zeros(0, dtype=np.int64)
        if not self.folded:
            asked = {part: self.parts[part] for part in self.parts if part in ("valid", "test")}
            known = self.parts.get("train", nothing)
            yield Examination(known, self.parts.get("valid", nothing), asked)
            return
        names = list(self.parts)
        for place, name in enumerate(names):
            rest = np.concatenate([self.parts[other] for other in names if other != name])
            valid = self.parts[names[place - 1]] if len(names) > 2 else nothing
            yield Examination(rest, valid, {name: self.parts[name]})


def find_tasks(clips: ClipTable | Iterable[ClipInfo]) -> list[Task]:
    """Finds the tasks among clips, by name. Raises `ValueError` for events that cannot be read."""
    table = ClipTable.from_clips(clips)
    return [_task(name, table) for name in sorted(table.tasks.categories)]


def pretraining_clips(clips: ClipTable | Iterable[ClipInfo]) -> Indices:
    """Returns the clips to pre-train on: the training split, or all where there are folds.

    Folds only divide the labels: each is held out once by the probes, as is usual for ESC-50.
    A sound that stands in several tasks is taken once.
    """
    table = ClipTable.from_clips(clips)
    taken = np.flatnonzero(~table.folds.equals("") | table.splits.equals("train"))
    first = np.full(len(table), len(table))  # taken of each sound
    np.minimum.at(first, table.first_with_path[taken], taken)
    heard_first: Indices = taken[first[table.first_with_path[taken]] == taken]
    return heard_first


def _task(name: str, clips: ClipTable) -> Task:
    mine = np.flatnonzero(clips.tasks.equals(name))
    told = clips.labels.take(mine)
    kind = infer_label_kind(told.categories)
    held = [parse_classes(word, kind) for word in told.categories]
    classes = tuple(sorted({name for names in held for name in names}))
    place = {name: place for place, name in enumerate(classes)}
    labels: Labels
    if kind == "single":
        labels = np.array([place[word] for word in told.categories], dtype=np.int64)[told.codes]
    else:
        holds = [[name in names for name in classes] for names in held]
        labels = np.array(holds, dtype=np.bool_)[told.codes]
    events = [parse_events(word) for word in told.categories] if kind == "events" else []
    folded = not clips.folds.equals("")[mine].all()
    named = (clips.folds if folded else clips.splits).take(mine)
    return Task(
        name,
        kind,
        classes,
        mine,
        labels,
        {part: np.flatnonzero(named.equals(part)) for part in sorted(named.categories)},
        folded,
        tuple(events[code] for code in told.codes) if events else (),
    )
