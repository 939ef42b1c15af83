"""The index sets of a prediction: which patches are visible and which are to be predicted.

A batch is predicted with one query per sample, for the union of its target blocks, or with one
query per block, so that blocks do not see one another. With one query per block, the context of a
sample is repeated for each of its blocks.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.core.random import StepRandom, generator
from ablate.model.masking import Mask
from ablate.model.packing import Packing, pack, pad
from ablate.model.segments import Segments


@dataclass(frozen=True, kw_only=True)
class PredictionQuery:
    """What the predictor of a batch receives and must predict.

    Masks are on the CPU, packings on `device`. A packing raises `ValueError` if a sample has none
    of the patches it selects.
    """

    mask: Mask
    valid: Tensor  # bool (clips, patches)
    device: torch.device
    rng: StepRandom  # random numbers of the training step
    by_block: bool = False  # one query per target block, instead of one per sample
    progress: float = 0.0  # share of training that is done
    padded: bool = False  # context and query tokens are padded to the longest segment

    @property
    def copies(self) -> int:
        """Number of samples (masks) per clip."""
        return len(self.mask.context) // len(self.valid)

    @cached_property
    def context(self) -> Packing:
        """The visible patches, one segment per sample; with filler if padded."""
        if self.padded:
            return pad(self.mask.context, self.device, copies=self.copies)
        return self.unpadded_context

    @cached_property
    def unpadded_context(self) -> Packing:
        """The visible patches, one segment per sample, without filler."""
        return pack(self.mask.context, self.device, copies=self.copies)

    @cached_property
    def target_union(self) -> Tensor:
        """Marks every target patch, bool `(samples, patches)`, on the CPU."""
        return self.mask.target_union

    @cached_property
    def targets(self) -> Packing:
        """Every target patch once, one segment per sample."""
        return pack(self.target_union, self.device, copies=self.copies)

    @cached_property
    def blocks(self) -> Packing:
        """The patches of every target block that is not empty, one segment per block."""
        return self._with_sample_index(pack(self._block_members))

    @cached_property
    def block_rows(self) -> Tensor:
        """The row of each patch of `blocks` among `targets`, int64 `(block tokens,)`."""
        rank = self.target_union.flatten().cumsum(dim=0).view_as(self.target_union) - 1
        rows = rank[self._block_samples][self._block_members]
        return on_device(rows, self.device)

    @cached_property
    def block_index(self) -> Tensor:
        """The block that each patch of `blocks` belongs to, from 0, int64 `(block tokens,)`."""
        lengths = self._block_members.sum(dim=-1)
        return on_device(torch.arange(len(lengths)).repeat_interleave(lengths), self.device)

    @cached_property
    def query_tokens(self) -> Packing:
        """The patches to predict, one segment per query; with filler if padded."""
        if self.by_block:
            return self._with_sample_index(pad(self._block_members)) if self.padded else self.blocks
        if self.padded:
            return pad(self.target_union, self.device, copies=self.copies)
        return self.targets

    @cached_property
    def clip_patches(self) -> Packing:
        """Every valid patch, one segment per clip."""
        return pack(self.valid, self.device)

    @cached_property
    def sample_valid(self) -> Tensor:
        """Marks the valid patches of each sample, bool `(samples, patches)`, on the CPU."""
        return self.valid.repeat_interleave(self.copies, dim=0)

    @cached_property
    def sample_patches(self) -> Packing:
        """Every valid patch, one segment per sample."""
        if self.copies == 1:
            return self.clip_patches
        return pack(self.sample_valid, self.device, copies=self.copies)

    @cached_property
    def repeated_context(self) -> tuple[Packing, Tensor]:
        """The context once per block, and the row of each of its tokens in `context`.

        The rows are int64 `(tokens,)` on the device. `place` and `owner` of the packing stay those
        of the samples.
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

    @cached_property
    def _block_samples(self) -> Tensor:
        """The sample of each block that is not empty, int64 `(blocks,)`."""
        return self.mask.targets.any(dim=-1).nonzero()[:, 0]

    @cached_property
    def _block_members(self) -> Tensor:
        """The patches of each block that is not empty, bool `(blocks, patches)`."""
        return self.mask.targets[self.mask.targets.any(dim=-1)]

    def _with_sample_index(self, packing: Packing) -> Packing:
        """Replaces block numbers by sample numbers in a packing of blocks."""
        owner = self._block_samples[packing.owner]
        index = on_device(owner * packing.patches + packing.place, self.device)
        return replace(packing, index=index, copies=self.copies)
