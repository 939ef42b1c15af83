"""What a step sees: its clips, which of their patches are real, and their masks.

It is drawn for the *global* batch and cut afterwards: ranks and micro-batches train what one
process would.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from ablate.audio.loader import Batch
from ablate.core.random import StepRandom
from ablate.model.masking import Mask


class Batches(Protocol):
    """Gives the global batch of any step, whichever were asked for before: a `Loader` does."""

    def batch(self, step: int, size: int) -> Batch:
        """Returns the `size` clips of a step, counted from 0, on the CPU."""
        ...

    def paths(self, step: int, size: int) -> list[str]:
        """Names the clips of the same batch, in its order."""
        ...


@dataclass(frozen=True)
class Drawn:
    """Clips with their masks, on the CPU. A clip may have several, side by side."""

    batch: Batch
    valid: Tensor  # bool (clips, patches): no padding
    mask: Mask  # of clips * copies samples
    rng: StepRandom  # random draws of this step, starting at the first of these clips

    @property
    def clips(self) -> int:
        """How many clips there are."""
        return len(self.valid)

    def pinned(self) -> "Drawn":
        """Returns the same with its mels in page-locked memory, which a GPU copies from itself."""
        return replace(self, batch=replace(self.batch, mels=self.batch.mels.pin_memory()))

    def parts(self, count: int) -> list["Drawn"]:
        """Cuts it into `count` runs of consecutive clips, as even as can be.

        Raises `ValueError` where there are fewer clips than parts.
        """
        if count > self.clips:
            raise ValueError(f"{self.clips} clips cannot be cut into {count} parts; take fewer")
        if count == 1:
            return [self]
        bounds = [self.clips * part // count for part in range(count + 1)]
        return [self._part(slice(*pair)) for pair in pairwise(bounds)]

    def _part(self, clips: slice) -> "Drawn":
        copies = len(self.mask.context) // self.clips
        samples = slice(clips.start * copies, clips.stop * copies)
        fallback = self.mask.fallback
        return Drawn(
            Batch(self.batch.mels[clips], self.batch.valid_frames[clips]),
            self.valid[clips],
            Mask(
                self.mask.context[samples],
                self.mask.targets[samples],
                None if fallback is None else fallback[samples],
            ),
            replace(self.rng, first=self.rng.first + clips.start),
        )
