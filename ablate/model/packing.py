"""Packs selected patches of a batch into one sequence of tokens, without padding.

Padding is available as an alternative, because the literature used it: segments of equal length,
filled up with tokens that nothing attends to. Indices are computed on the CPU, where masks are
drawn, so that the GPU never has to synchronise for a count.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from ablate.core.device import on_device
from ablate.model.segments import Segments


@dataclass(frozen=True)
class Packing:
    """The patches of a batch that form a sequence of tokens, one segment per sample.

    There may be several samples per clip: different masks of one clip, side by side in the batch.
    The index of a filler token is that of some unselected patch of its sample.
    """

    index: Tensor  # int64 (tokens,): index into (samples patches), on the device
    patches: int  # patches per sample
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
    """Packs the patches that `member` marks.

    Args:
        member: bool `(samples, patches)` on the CPU.
        device: Device of the packing's index; None for the CPU.
        copies: Samples per clip.

    Raises:
        ValueError: A sample has no marked patch.
    """
    index = member.flatten().nonzero().squeeze(1)
    segments = Segments(tuple(member.sum(dim=1).tolist()))
    return Packing(on_device(index, device), member.shape[1], segments, copies)


def pad(member: Tensor, device: torch.device | None = None, *, copies: int = 1) -> Packing:
    """Like `pack`, but pads each sample with filler to the length of the longest."""
    real = Segments(tuple(member.sum(dim=1).tolist())).real
    samples, longest = real.shape
    first = member.byte().argsort(dim=1, descending=True, stable=True)[:, :longest]
    index = first + torch.arange(samples).unsqueeze(1) * member.shape[1]
    segments = Segments((longest,) * samples, filler=~real.flatten())
    return Packing(on_device(index.flatten(), device), member.shape[1], segments, copies)


def real_rows(packing: Packing, device: torch.device | None = None) -> Tensor:
    """Returns the rows of a padded packing that are not filler, int64 `(rows,)`."""
    return on_device(packing.segments.rows, device)


def pad_segments(tokens: Tensor, segments: Segments) -> Tensor:
    """Pads segments with zeros, from `(tokens, dim)` to `(segments, longest, dim)`.

    Segments of equal lengths are only reshaped; filler tokens among them keep their values.
    """
    samples, longest = segments.real.shape
    if segments.num_tokens == samples * longest:
        return tokens.view(samples, longest, -1)
    rows = on_device(segments.rows, tokens.device)
    cells = tokens.new_zeros(samples * longest, tokens.shape[1]).index_copy(0, rows, tokens)
    return cells.view(samples, longest, -1)


def find_rows(
    part: Tensor, packed: Tensor, device: torch.device | None = None, *, copies: int = 1
) -> Tensor:
    """Returns the row of each patch of `part` among the packed patches of `packed`.

    Args:
        part: bool `(clips * copies, patches)` on the CPU.
        packed: bool `(clips, patches)` on the CPU; includes every patch of `part`.
        device: Device of the result; None for the CPU.
        copies: Samples per clip in `part`.

    Returns:
        int64 `(patches marked in part,)`.
    """
    rank = packed.flatten().cumsum(dim=0).view_as(packed) - 1
    return on_device(rank.repeat_interleave(copies, dim=0)[part], device)


@dataclass(frozen=True)
class Joined:
    """How to merge two token sequences so that each sample's tokens are adjacent."""

    order: Tensor  # int64: `torch.cat([first, second])[order]` is ordered by sample
    first: Tensor  # int64: rows of the result that hold `first`, in its own order
    second: Tensor  # int64: rows of the result that hold `second`, in its own order
    segments: Segments


def join(first: Packing, second: Packing) -> Joined:
    """Joins two packings of one batch into one segment per sample."""
    return join_segments(first.segments, second.segments, first.index.device)


def join_segments(first: Segments, second: Segments, device: torch.device) -> Joined:
    """Joins the segments of two token sequences, sample by sample.

    Raises:
        ValueError: One sequence is padded and the joined segments have different lengths.
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
        _join_marks(first.filler, second.filler, first, second, order),
        _join_marks(first.exclude_self, second.exclude_self, first, second, order),
    )
    return Joined(
        on_device(order, device), rows[: first.num_tokens], rows[first.num_tokens :], segments
    )


def _join_marks(
    marks: Tensor | None, others: Tensor | None, first: Segments, second: Segments, order: Tensor
) -> Tensor | None:
    if marks is None and others is None:
        return None
    unmarked = torch.zeros(len(order), dtype=torch.bool)
    marks = unmarked[: first.num_tokens] if marks is None else marks
    others = unmarked[: second.num_tokens] if others is None else others
    return torch.cat([marks, others])[order]
