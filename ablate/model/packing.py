"""Packing: the tokens of all samples in one row, every one that belongs and nothing else.

No padding and no truncation. Index arithmetic is done on the CPU, where masks are drawn, so
that a GPU never has to report a count back.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ablate.model.attention import Segments


@dataclass(frozen=True)
class Packing:
    """Which patches of a batch lie in a row of packed tokens, sample after sample."""

    index: Tensor  # int64 (tokens,): position in the batch's (batch patches), on the device
    patches: int  # per sample
    segments: Segments

    @property
    def place(self) -> Tensor:
        """The patch of the grid that each token comes from, int64 (tokens,)."""
        return self.index % self.patches

    @property
    def owner(self) -> Tensor:
        """The sample that each token belongs to, int64 (tokens,)."""
        return self.index // self.patches

    def gather(self, patches: Tensor) -> Tensor:
        """Packs (batch, patches, dim) into (tokens, dim)."""
        flat = rearrange(patches, "batch patches dim -> (batch patches) dim")
        return flat.index_select(0, self.index)


def pack(member: Tensor, device: torch.device | None = None) -> Packing:
    """Packs the patches that `member`, bool (batch, patches) on the CPU, marks.

    Raises `ValueError` for a sample without any.
    """
    index = member.flatten().nonzero().squeeze(1)
    segments = Segments(tuple(member.sum(dim=1).tolist()))
    return Packing(_moved(index, device), member.shape[1], segments)


def rows_of(part: Tensor, whole: Tensor, device: torch.device | None = None) -> Tensor:
    """Returns, for each patch marked in `part`, its row among the packed patches of `whole`."""
    rank = whole.flatten().cumsum(dim=0) - 1
    return _moved(rank[part.flatten()], device)


@dataclass(frozen=True)
class Joined:
    """The order that puts each sample's tokens of two packings side by side."""

    order: Tensor  # int64: `torch.cat([first, second])[order]` is sample after sample
    second: Tensor  # int64: the rows of the result that hold `second`, in its own order
    segments: Segments


def join(first: Packing, second: Packing) -> Joined:
    """Joins two packings of one batch into one segment per sample."""
    lengths = torch.tensor([first.segments.lengths, second.segments.lengths])
    samples = torch.arange(lengths.shape[1])
    owner = torch.cat([samples.repeat_interleave(counts) for counts in lengths])
    order = owner.argsort(stable=True)
    behind = (order >= first.segments.total).nonzero().squeeze(1)
    device = first.index.device
    segments = Segments(tuple(lengths.sum(dim=0).tolist()))
    return Joined(_moved(order, device), _moved(behind, device), segments)


def _moved(index: Tensor, device: torch.device | None) -> Tensor:
    if device is None or device.type == "cpu":
        return index
    return index.pin_memory().to(device, non_blocking=True)
