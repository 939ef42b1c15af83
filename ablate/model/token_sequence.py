"""The sequence that a transformer encoder makes of packed patches, with its extra tokens."""

from dataclasses import dataclass, replace

import torch
from einops import repeat
from torch import Tensor

from ablate.model.masking import Grid
from ablate.model.packing import Packing, join_segments
from ablate.model.segments import Segments


@dataclass(frozen=True)
class TokenSequence:
    """Tokens in the order in which layers read them, one segment per sample."""

    tokens: Tensor  # (sequence, dim)
    place: Tensor  # int64 (sequence,): the patch of the grid, or -1 for an extra token
    segments: Segments
    rows: Tensor | None = None  # int64: rows of the patches in the order of their packing
    first: Tensor | None = None  # int64 (samples,): row of the first extra token of each sample

    def select_patches(self, values: Tensor) -> Tensor:
        """Returns the rows of `(sequence, ...)` that are patches, in the order of the packing."""
        return values if self.rows is None else values.index_select(0, self.rows)


def arrange_tokens(
    tokens: Tensor, packing: Packing, *, extra: Tensor | None, causal: bool, grid: Grid
) -> TokenSequence:
    """Puts extra tokens ahead of those of each sample, and orders the others for causal layers.

    Causal layers read a clip column by column, and each column from low to high frequencies.

    Args:
        tokens: `(tokens, dim)`, in the order of `packing`.
        packing: The patches that the tokens come from.
        extra: Tokens ahead of each sample's, `(extra tokens, dim)`; None for none.
        causal: Whether tokens attend only to those before them.
        grid: The grid of the patches.
    """
    place, segments, rows = packing.place, packing.segments, None
    if causal:
        order, rows = find_time_order(packing, grid)
        tokens, place = tokens.index_select(0, order), place.index_select(0, order)
        segments = replace(segments, causal=True)
    if extra is None:
        return TokenSequence(tokens, place, segments, rows)
    samples = len(segments.lengths)
    joined = join_segments(Segments((len(extra),) * samples), packing.segments, place.device)
    repeated = repeat(extra, "extra dim -> (samples extra) dim", samples=samples)
    tokens = torch.cat([repeated, tokens]).index_select(0, joined.order)
    no_place = place.new_full((len(repeated),), -1)
    place = torch.cat([no_place, place]).index_select(0, joined.order)
    rows = joined.second if rows is None else joined.second.index_select(0, rows)
    segments = replace(joined.segments, causal=True) if causal else joined.segments
    return TokenSequence(tokens, place, segments, rows, joined.first[:: len(extra)])


def find_time_order(packing: Packing, grid: Grid) -> tuple[Tensor, Tensor]:
    """Finds the order of packed patches by sample, column and row.

    Returns:
        The packed rows in this order, and the rank of each packed row, both int64 `(tokens,)`.
    """
    key = packing.owner * packing.patches + rank_in_time(packing.place, grid)
    order = key.argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return order, rank


def rank_in_time(place: Tensor, grid: Grid) -> Tensor:
    """Returns the rank of patches in the order by column, then row, int64 like `place`."""
    return place % grid.time * grid.freq + place // grid.time
