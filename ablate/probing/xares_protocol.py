"""The official protocol of X-ARES: how it cuts and pads clips, and the settings of each task.

https://github.com/jimbozhang/xares, commit 161f0ef (`audiowebdataset.py`, `task.py`,
`trainer.py`). Clips of some tasks are cut into pieces of equal length, each scored by itself; of
the pieces of a clip that share a batch, X-ARES uses only the first.
Consecutive clips are encoded in batches, padded with silence to the longest, and the silence is
encoded and averaged like sound; scores therefore depend on which clips share a batch.

Unlike there: silence is appended as frames, not as samples, and clips are batched in the order of
the names of their tar files, which X-ARES leaves to the file system.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.loader import FrameSource
from ablate.probing.tasks import Indices, Labels, Task
from ablate.probing.xares_tasks import TASKS_BY_NAME, PublicTask

XaresProtocol = Literal["whole_clips", "official"]
Frames = npt.NDArray[np.float16]


@dataclass(frozen=True)
class PaddedClips:
    """Pieces of clips with silence after them, to be read like a clip store."""

    store: FrameSource
    clips: Indices  # (pieces,), the clip of each piece
    starts: Indices  # (pieces,), first frame
    sizes: Indices  # (pieces,), frames of sound
    lengths: Indices  # (pieces,), frames with silence
    silence: Frames  # (bands,)

    @property
    def digest(self) -> str:
        """Hash of how the clips are cut and padded, 16 hex digits."""
        arrays = (self.clips, self.starts, self.sizes, self.lengths)
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]

    def read_frames(self, index: int, start: int, stop: int) -> Frames:
        """Returns the frames `start` to `stop` of a piece, (frames, bands), not normalised."""
        stop = min(stop, int(self.lengths[index]))
        first, size = int(self.starts[index]), int(self.sizes[index])
        sound = self.store.read_frames(
            int(self.clips[index]), first + min(start, size), first + min(stop, size)
        )
        missing = max(0, stop - start) - len(sound)
        return np.concatenate([sound, np.repeat(self.silence[None], missing, axis=0)])

    def frames(self, index: int) -> npt.NDArray[np.float32]:
        """Returns all frames of a piece, (frames, bands), not normalised."""
        return self.read_frames(index, 0, int(self.lengths[index])).astype(np.float32)


class OfficialTaskError(ValueError):
    """A task that the official protocol does not define."""


def find_public_task(name: str) -> PublicTask:
    """Returns the settings of a task of X-ARES. Raises `OfficialTaskError` for any other task."""
    if name not in TASKS_BY_NAME:
        raise OfficialTaskError(
            f"`protocol: official` scores only tasks of X-ARES, and `{name}` is none; use "
            "`protocol: whole_clips`"
        )
    return TASKS_BY_NAME[name]


def apply_protocol(
    task: Task, store: FrameSource, mel: AbstractFrontEnd
) -> tuple[Task, PaddedClips]:
    """Cuts and pads the clips of a task as X-ARES does.

    Args:
        task: A task of X-ARES.
        store: The clips of the task.
        mel: The front end of their frames.

    Returns:
        The task with pieces in place of clips, and the pieces.

    Raises:
        OfficialTaskError: X-ARES has no such task.
    """
    listed = find_public_task(task.name)
    crop = round(listed.crop_seconds / mel.hop_seconds) if listed.crop_seconds else None
    pieces = {}
    for part, items in task.parts.items():
        cut = [piece for item in items for piece in _cut(int(item), task, store, crop)]
        pieces[part] = _pad(np.array(cut, dtype=np.int64).reshape(-1, 3), crop, listed.encode_batch)
    rows = np.concatenate(list(pieces.values()))
    bounds = np.cumsum([0, *(len(part) for part in pieces.values())])
    items = rows[:, 0]
    labels: Labels = task.labels[items]
    official = dataclasses.replace(
        task,
        clips=np.arange(len(rows)),
        labels=labels,
        parts={
            part: np.arange(bounds[number], bounds[number + 1])
            for number, part in enumerate(pieces)
        },
        events=tuple(task.events[item] for item in items) if task.events else (),
    )
    silence = compute_silence(mel)
    return official, PaddedClips(
        store, task.clips[items], rows[:, 1], rows[:, 2], rows[:, 3], silence
    )


def compute_silence(mel: AbstractFrontEnd) -> Frames:
    """Returns a frame of digital silence, (bands,)."""
    second = mel(torch.zeros(16000), 16000)
    silence: Frames = second[len(second) // 2].numpy().astype(np.float16)
    return silence


def _cut(
    item: int, task: Task, store: FrameSource, crop: int | None
) -> Iterator[tuple[int, int, int]]:
    """Yields (item, first frame, frames) of the pieces of a clip; a rest is dropped."""
    length = int(store.lengths[task.clips[item]])
    if crop is None or length < crop:
        yield item, 0, length
        return
    for start in range(0, length - crop + 1, crop):
        yield item, start, crop


def _pad(pieces: Indices, crop: int | None, batch: int) -> Indices:
    """Adds the length of each piece after padding to the longest of its batch, (pieces, 4).

    Of several pieces of a clip in one batch only the first remains: X-ARES saves them under one
    name, and skips the others when it reads them.
    """
    lengths = pieces[:, 2] if crop is None else np.maximum(pieces[:, 2], crop)
    padded = []
    for start in range(0, len(pieces), batch):
        longest = lengths[start : start + batch].max()
        together = pieces[start : start + batch]
        first = np.diff(together[:, 0], prepend=-1) != 0
        padded.append(np.pad(together[first], ((0, 0), (0, 1)), constant_values=longest))
    return np.concatenate([np.zeros((0, 4), dtype=np.int64), *padded])
