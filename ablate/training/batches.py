"""A training batch with its masks, and how it is split over ranks and micro-batches.

Masks are drawn for the *global* batch, which is split afterwards: any number of ranks and
micro-batches trains on the same data as one process.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom
from ablate.model.masking import Mask


class BatchSource(Protocol):
    """Returns the global batch of any step, in any order of steps. `Loader` implements it."""

    def batch(self, step: int, size: int) -> Batch:
        """Returns the `size` clips of a step, counted from 0, on the CPU."""
        ...

    def paths(self, step: int, size: int) -> list[str]:
        """Returns the file paths of the clips of the same batch, in the same order."""
        ...


@dataclass(frozen=True)
class MaskedBatch:
    """Clips with their masks, on the CPU. Each clip has one or more masks (copies).

    If the views of a clip exchange their roles, the clip is there twice, in neighbouring rows.
    """

    batch: Batch  # what the target is computed from
    valid: Tensor  # bool (clips, patches), False for padding
    mask: Mask  # one mask per sample, clips * copies samples; copies of a clip are adjacent
    rng: StepRandom  # random numbers of this step, starting at the first of these rows
    view: Batch | None = None  # what the context encoder sees instead of `batch`
    roles: int = 1  # rows per clip

    @property
    def num_clips(self) -> int:
        """Number of different clips."""
        return len(self.valid) // self.roles

    def exchange_views(self) -> "MaskedBatch":
        """Returns a batch with each clip twice: as it is, and with its two views exchanged.

        Both have the same masks.
        """
        assert self.view is not None, "one view cannot be exchanged with itself"
        frames = self.batch.mels, self.view.mels
        valid_frames = self.batch.valid_frames.repeat_interleave(2, dim=0)
        copies = len(self.mask.context) // len(self.valid)
        samples = torch.arange(len(self.mask.context)).view(-1, copies)
        samples = samples.repeat_interleave(2, dim=0).flatten()
        return MaskedBatch(
            Batch(torch.stack(frames, dim=1).flatten(0, 1), valid_frames),
            self.valid.repeat_interleave(2, dim=0),
            _select(self.mask, samples),
            self.rng,
            Batch(torch.stack(frames[::-1], dim=1).flatten(0, 1), valid_frames),
            roles=2,
        )

    def pin_memory(self) -> "MaskedBatch":
        """Returns a copy in page-locked memory, for asynchronous copies to a GPU."""
        view = None if self.view is None else self.view.pin_memory()
        return replace(self, batch=self.batch.pin_memory(), view=view)

    def split(self, count: int) -> list["MaskedBatch"]:
        """Splits the batch into `count` consecutive parts of as equal size as possible.

        Raises `ValueError` if there are fewer clips than parts.
        """
        if count > self.num_clips:
            raise ValueError(
                f"a batch of {self.num_clips} clips cannot be split into {count} parts; use fewer"
            )
        if count == 1:
            return [self]
        bounds = [self.num_clips * part // count * self.roles for part in range(count + 1)]
        return [self._slice(slice(*pair)) for pair in pairwise(bounds)]

    def _slice(self, rows: slice) -> "MaskedBatch":
        copies = len(self.mask.context) // len(self.valid)
        return MaskedBatch(
            self.batch[rows],
            self.valid[rows],
            _select(self.mask, slice(rows.start * copies, rows.stop * copies)),
            replace(self.rng, first=self.rng.first + rows.start),
            None if self.view is None else self.view[rows],
            self.roles,
        )


def _select(mask: Mask, samples: slice | Tensor) -> Mask:
    fallback = None if mask.fallback is None else mask.fallback[samples]
    return Mask(mask.context[samples], mask.targets[samples], fallback)
