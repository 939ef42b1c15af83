"""A question to the predictor: which patches are seen, and which are asked for.

A question is asked once per sample, for the union of its target blocks, or once per block, so
that blocks do not see one another. The context of a sample is then part of several questions.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ablate.core.random import StepRandom, generator
from ablate.model.attention import Segments
from ablate.model.device import on_device
from ablate.model.masking import Mask
from ablate.model.packing import Packing, pack, pad


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a batch's predictor is asked. Masks lie on the CPU, packings on the device.

    Its packings raise `ValueError` for a sample of which nothing is marked.
    """

    mask: Mask
    valid: Tensor  # bool (clips, patches)
    device: torch.device
    rng: StepRandom  # of the training step
    by_block: bool = False  # a question per target block, instead of one per sample
    padded: bool = False  # what is seen and what is asked are filled up to the longest

    @property
    def copies(self) -> int:
        """Samples per clip."""
        return len(self.mask.context) // len(self.valid)

    @cached_property
    def context(self) -> Packing:
        """The visible patches, a segment per sample; with filler if padded."""
        if self.padded:
            return pad(self.mask.context, self.device, copies=self.copies)
        return self.visible

    @cached_property
    def visible(self) -> Packing:
        """The same without filler."""
        return pack(self.mask.context, self.device, copies=self.copies)

    @cached_property
    def union(self) -> Tensor:
        """Marks every target patch, bool (samples, patches), on the CPU."""
        return self.mask.target_union

    @cached_property
    def targets(self) -> Packing:
        """Every target patch once, a segment per sample."""
        return pack(self.union, self.device, copies=self.copies)

    @cached_property
    def blocks(self) -> Packing:
        """The patches of every target block that is not empty, a segment per block."""
        return self._of_blocks(pack(self._block_members))

    @cached_property
    def block_rows(self) -> Tensor:
        """The row of each patch of `blocks` among `targets`, int64 (block tokens,)."""
        rank = self.union.flatten().cumsum(dim=0).view_as(self.union) - 1
        rows = rank[self._block_samples][self._block_members]
        return on_device(rows, self.device)

    @cached_property
    def block_numbers(self) -> Tensor:
        """The block that each patch of `blocks` belongs to, from 0, int64 (block tokens,)."""
        lengths = self._block_members.sum(dim=-1)
        return on_device(torch.arange(len(lengths)).repeat_interleave(lengths), self.device)

    @cached_property
    def asked(self) -> Packing:
        """The patches to be predicted, a segment per question; with filler if padded."""
        if self.by_block:
            return self._of_blocks(pad(self._block_members)) if self.padded else self.blocks
        if self.padded:
            return pad(self.union, self.device, copies=self.copies)
        return self.targets

    @cached_property
    def whole(self) -> Packing:
        """Every real patch, a segment per clip."""
        return pack(self.valid, self.device)

    @cached_property
    def real(self) -> Tensor:
        """Marks the real patches of each sample, bool (samples, patches), on the CPU."""
        return self.valid.repeat_interleave(self.copies, dim=0)

    @cached_property
    def every(self) -> Packing:
        """Every real patch of each sample, a segment per sample."""
        if self.copies == 1:
            return self.whole
        return pack(self.real, self.device, copies=self.copies)

    @cached_property
    def _block_samples(self) -> Tensor:
        return self.mask.targets.any(dim=-1).nonzero()[:, 0]

    @cached_property
    def _block_members(self) -> Tensor:
        return self.mask.targets[self.mask.targets.any(dim=-1)]

    def _of_blocks(self, packing: Packing) -> Packing:
        """Lets a packing of blocks point to the patches of their samples."""
        owner = self._block_samples[packing.owner]
        index = on_device(owner * packing.patches + packing.place, self.device)
        return replace(packing, index=index, copies=self.copies)

    @cached_property
    def repeated_context(self) -> tuple[Packing, Tensor]:
        """The context once per block, and the row of each of its tokens in `context`.

        The rows are int64 (tokens,) on the device. `place` and `owner` stay those of the samples.
        """
        lengths = torch.tensor(self.context.segments.lengths)
        repeated = lengths[self._block_samples]
        first = (lengths.cumsum(dim=0) - lengths)[self._block_samples]
        begins = repeated.cumsum(dim=0) - repeated
        rows = torch.arange(int(repeated.sum())) + (first - begins).repeat_interleave(repeated)
        filler = self.context.segments.filler
        segments = Segments(tuple(repeated.tolist()), None if filler is None else filler[rows])
        moved = on_device(rows, self.device)
        index = self.context.index.index_select(0, moved)
        return replace(self.context, index=index, segments=segments), moved

    def generator(self, name: str) -> torch.Generator:
        """Returns a fresh CPU generator for one use in this step, the same for any batch slice."""
        return generator(self.rng.seed, name, self.rng.step)
