"""A training batch with its masks, and how it is split over ranks and micro-batches.

Masks are drawn for the *global* batch, which is split afterwards: any number of ranks and
micro-batches trains on the same data as one process.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

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
    """Clips with their masks, on the CPU. Each clip has one or more masks (copies)."""

    batch: Batch
    valid: Tensor  # bool (clips, patches), False for padding
    mask: Mask  # one mask per sample, clips * copies samples; copies of a clip are adjacent
    rng: StepRandom  # random numbers of this step, starting at the first of these clips
    view: Batch | None = None  # what the context encoder sees instead of `batch`

    @property
    def num_clips(self) -> int:
        """Number of clips."""
        return len(self.valid)

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
        bounds = [self.num_clips * part // count for part in range(count + 1)]
        return [self._slice(slice(*pair)) for pair in pairwise(bounds)]

    def _slice(self, clips: slice) -> "MaskedBatch":
        copies = len(self.mask.context) // self.num_clips
        samples = slice(clips.start * copies, clips.stop * copies)
        fallback = self.mask.fallback
        return MaskedBatch(
            self.batch[clips],
            self.valid[clips],
            Mask(
                self.mask.context[samples],
                self.mask.targets[samples],
                None if fallback is None else fallback[samples],
            ),
            replace(self.rng, first=self.rng.first + clips.start),
            None if self.view is None else self.view[clips],
        )
