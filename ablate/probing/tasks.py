"""Tasks: the labels that probes are asked for, and which clips teach and which examine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ablate.audio.sources import ClipInfo

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


def find_tasks(clips: Sequence[ClipInfo]) -> list[Task]:
    """Finds the tasks among clips, in order of their names."""
    return [_task(name, clips) for name in sorted({clip.task for clip in clips})]


def pretraining_clips(clips: Sequence[ClipInfo]) -> Indices:
    """Returns the clips to pre-train on: the training split, or all where there are folds.

    Folds only divide the labels: each is held out once by the probes, as is usual for ESC-50.
    A sound that stands in several tasks is taken once.
    """
    chosen: dict[str, int] = {}
    for index, clip in enumerate(clips):
        if clip.fold or clip.split == "train":
            chosen.setdefault(clip.path, index)
    return np.array(list(chosen.values()), dtype=np.int64)


def _task(name: str, clips: Sequence[ClipInfo]) -> Task:
    mine = [index for index, clip in enumerate(clips) if clip.task == name]
    classes = sorted({clips[index].label for index in mine})
    labels = np.full(len(clips), -1, dtype=np.int64)
    labels[mine] = [classes.index(clips[index].label) for index in mine]
    parts: dict[str, list[int]] = {}
    for index in mine:
        parts.setdefault(clips[index].fold or clips[index].split, []).append(index)
    return Task(
        name,
        tuple(classes),
        labels,
        {part: np.array(parts[part], dtype=np.int64) for part in sorted(parts)},
        folded=any(clips[index].fold for index in mine),
    )
