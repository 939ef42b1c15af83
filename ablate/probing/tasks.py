"""Tasks: the labels that probes are asked for, and which clips teach and which examine."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablate.audio.clips import ClipInfo, Clips

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """One classification task over clips of a store. Every clip belongs to exactly one."""

    name: str
    classes: tuple[str, ...]
    labels: Indices  # (store's clips,); -1 for clips of other tasks
    parts: dict[str, Indices]  # split -> clips of it; of folds, one part each
    folded: bool

    def examinations(self) -> Iterator[tuple[str, Indices, Indices]]:
        """Yields (part, clips to learn from, clips to be examined on)."""
        if self.folded:
            for name, held_out in self.parts.items():
                rest = [part for other, part in self.parts.items() if other != name]
                yield name, np.concatenate(rest), held_out
            return
        for name in ("valid", "test"):
            if len(self.parts.get(name, ())):
                yield name, self.parts["train"], self.parts[name]


def find_tasks(clips: Clips | Iterable[ClipInfo]) -> list[Task]:
    """Finds the tasks among clips, in order of their names."""
    table = Clips.of(clips)
    return [_task(name, table) for name in sorted(table.tasks.words)]


def pretraining_clips(clips: Clips | Iterable[ClipInfo]) -> Indices:
    """Returns the clips to pre-train on: the training split, or all where there are folds.

    Folds only divide the labels: each is held out once by the probes, as is usual for ESC-50.
    A sound that stands in several tasks is taken once.
    """
    table = Clips.of(clips)
    taken = np.flatnonzero(~table.folds.equals("") | table.splits.equals("train"))
    first = np.full(len(table), len(table))  # taken of each sound
    np.minimum.at(first, table.sounds[taken], taken)
    heard_first: Indices = taken[first[table.sounds[taken]] == taken]
    return heard_first


def _task(name: str, clips: Clips) -> Task:
    mine = np.flatnonzero(clips.tasks.equals(name))
    told = clips.labels.take(mine)
    classes = sorted(told.words)
    rank = np.array([classes.index(word) for word in told.words], dtype=np.int64)
    labels = np.full(len(clips), -1, dtype=np.int64)
    labels[mine] = rank[told.codes]
    folded = not clips.folds.equals("")[mine].all()
    named = (clips.folds if folded else clips.splits).take(mine)
    parts = {part: mine[named.equals(part)] for part in sorted(named.words)}
    return Task(name, tuple(classes), labels, parts, folded)
