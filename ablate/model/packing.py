"""Packing: the tokens of all samples in one row, every one that belongs and nothing else.

Padding is the other way, kept because the literature used it: equal rows, filled up with tokens
that nothing attends to. Index arithmetic is done on the CPU, where masks are drawn, so that a
GPU never has to report a count back.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ablate.model.attention import Segments
from ablate.model.device import on_device


@dataclass(frozen=True)
class Packing:
    """Which patches of a batch lie in a row of tokens, sample after sample, a segment each.

    There may be several samples per clip, which are masks of one clip and lie side by side.
    Filler points at some patch of its sample that was not marked.
    """

    index: Tensor  # int64 (tokens,): position in (samples patches), on the device
    patches: int  # per sample
    segments: Segments
    copies: int = 1  # samples per clip

    @property
    def place(self) -> Tensor:
        """The patch of the grid that each token comes from, int64 (tokens,)."""
        return self.index % self.patches

    @property
    def owner(self) -> Tensor:
        """The sample that each token belongs to, int64 (tokens,)."""
        return self.index // self.patches

    def gather(self, patches: Tensor) -> Tensor:
        """Packs (clips, patches, dim) into (tokens, dim)."""
        flat = rearrange(patches, "clips patches dim -> (clips patches) dim")
        if self.copies == 1:
            return flat.index_select(0, self.index)
        return flat.index_select(0, self.owner // self.copies * self.patches + self.place)


def pack(member: Tensor, device: torch.device | None = None, *, copies: int = 1) -> Packing:
    """Packs the patches that `member`, bool (samples, patches) on the CPU, marks.

    Raises `ValueError` for a sample without any.
    """
    index = member.flatten().nonzero().squeeze(1)
    segments = Segments(tuple(member.sum(dim=1).tolist()))
    return Packing(on_device(index, device), member.shape[1], segments, copies)


def pad(member: Tensor, device: torch.device | None = None, *, copies: int = 1) -> Packing:
    """Like `pack`, but fills each sample up to the longest with filler; raises as it does."""
    real = Segments(tuple(member.sum(dim=1).tolist())).real
    samples, longest = real.shape
    first = member.byte().argsort(dim=1, descending=True, stable=True)[:, :longest]
    index = first + torch.arange(samples).unsqueeze(1) * member.shape[1]
    segments = Segments((longest,) * samples, filler=~real.flatten())
    return Packing(on_device(index.flatten(), device), member.shape[1], segments, copies)


def real_rows(packing: Packing, device: torch.device | None = None) -> Tensor:
    """Returns the rows of a padded packing that are no filler, int64 (real tokens,)."""
    return on_device(packing.segments.rows, device)


def spread(tokens: Tensor, segments: Segments) -> Tensor:
    """Fills segments up to the longest with zeros: (tokens, dim) to (segments, longest, dim).

    Segments of one length are only given that shape: filler among them stays what it is.
    """
    samples, longest = segments.real.shape
    if segments.total == samples * longest:
        return tokens.view(samples, longest, -1)
    rows = on_device(segments.rows, tokens.device)
    cells = tokens.new_zeros(samples * longest, tokens.shape[1]).index_copy(0, rows, tokens)
    return cells.view(samples, longest, -1)


def rows_of(
    part: Tensor, whole: Tensor, device: torch.device | None = None, *, copies: int = 1
) -> Tensor:
    """Returns, for each patch marked in `part`, its row among the packed patches of `whole`.

    `part` is bool (clips * copies, patches), `whole` bool (clips, patches) and marks all that
    `part` does; both lie on the CPU. The rows are int64 (patches marked in `part`,).
    """
    rank = whole.flatten().cumsum(dim=0).view_as(whole) - 1
    return on_device(rank.repeat_interleave(copies, dim=0)[part], device)


@dataclass(frozen=True)
class Joined:
    """The order that puts each sample's tokens of two rows side by side."""

    order: Tensor  # int64: `torch.cat([first, second])[order]` is sample after sample
    first: Tensor  # int64: the rows of the result that hold `first`, in its own order
    second: Tensor  # int64: those that hold `second`
    segments: Segments


def join(first: Packing, second: Packing) -> Joined:
    """Joins two packings of one batch into one segment per sample."""
    return join_segments(first.segments, second.segments, first.index.device)


def join_segments(first: Segments, second: Segments, device: torch.device) -> Joined:
    """Joins the segments of two rows, sample by sample.

    Padded segments join padded ones. Where one of the two is padded, the other's must be of one
    length: raises `ValueError` where the result is not.
    """
    lengths = torch.tensor([first.lengths, second.lengths])
    samples = torch.arange(lengths.shape[1])
    order = torch.cat([samples.repeat_interleave(counts) for counts in lengths]).argsort(
        stable=True
    )
    rows = torch.empty_like(order)
    rows[order] = torch.arange(len(order))
    rows = on_device(rows, device)
    segments = Segments(
        tuple(lengths.sum(dim=0).tolist()),
        _marked(first, first.filler, second, second.filler, order),
        _marked(first, first.barred, second, second.barred, order),
    )
    return Joined(on_device(order, device), rows[: first.total], rows[first.total :], segments)


def _marked(
    first: Segments, here: Tensor | None, second: Segments, there: Tensor | None, order: Tensor
) -> Tensor | None:
    if here is None and there is None:
        return None
    nothing = torch.zeros(len(order), dtype=torch.bool)
    here = nothing[: first.total] if here is None else here
    there = nothing[: second.total] if there is None else there
    return torch.cat([here, there])[order]
