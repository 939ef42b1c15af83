"""Attention over packed segments: one function, two kernels that give the same numbers.

Tokens of all samples lie in one row; a token attends to its own segment only. On CUDA this is
`xformers.ops.memory_efficient_attention` with a block-diagonal bias. Elsewhere it is PyTorch's
own kernel: one call where all segments have one length, one padded call where they are short,
one call per segment otherwise.
"""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ablate.model.device import on_device

Kernel = Literal["xformers", "segments"]

# tokens up to which a call costs more than padding wastes: forward and backward of 16 segments of
# 8-21 tokens take 0.5 ms padded and 2.0 ms looped; of 60-200 tokens, 119 ms and 71 ms (one core)
SHORT = 32


@dataclass(frozen=True)
class Segments:
    """The lengths of consecutive segments in a row of packed tokens. None may be empty.

    A padded batch is one of equal lengths, some tokens of which are `filler`: nothing attends
    to those. A `barred` token attends to all of its segment but itself; one that is alone there
    has nothing else and keeps itself. Raises `ValueError` for an empty segment, for filler in
    segments of several lengths, and for marks of more or fewer tokens than there are.
    """

    lengths: tuple[int, ...]
    filler: Tensor | None = field(default=None, compare=False)  # bool (tokens,), on the CPU
    barred: Tensor | None = field(default=None, compare=False)  # bool (tokens,), on the CPU

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"every segment needs a token; got lengths {self.lengths}")
        if self.filler is not None and not self.equal:
            raise ValueError(f"padded segments have one length; got {self.lengths}")
        for name, marked in (("filler", self.filler), ("barred", self.barred)):
            if marked is not None and len(marked) != self.total:
                raise ValueError(f"`{name}` marks {len(marked)} tokens of {self.total}")

    @property
    def total(self) -> int:
        """How many tokens there are, filler included."""
        return sum(self.lengths)

    @property
    def num_real(self) -> int:
        """How many tokens are no filler."""
        return self.total - (0 if self.filler is None else int(self.filler.sum()))

    @property
    def equal(self) -> bool:
        """Whether all segments have one length."""
        return len(set(self.lengths)) == 1

    @property
    def pairs(self) -> int:
        """How many (query, key) pairs lie in one segment, those of filler included."""
        return sum(length * length for length in self.lengths)

    @cached_property
    def real(self) -> Tensor:
        """Marks the real cells of a padded batch, bool (segments, longest), on the CPU."""
        if self.filler is not None:
            return ~self.filler.view(len(self.lengths), -1)
        return torch.arange(max(self.lengths)) < torch.tensor(self.lengths).unsqueeze(1)

    @cached_property
    def bars(self) -> bool:
        """Whether any token is barred from itself."""
        return self.barred is not None and bool(self.barred.any())

    @cached_property
    def open(self) -> Tensor:
        """Marks the keys that the cells of a padded batch may attend to, on the CPU.

        Bool (segments, 1, 1, longest) where all cells of a segment see the same, (segments, 1,
        longest, longest), query before key, where some are barred from themselves.
        """
        real = self.real.unsqueeze(1)
        if self.barred is None or not self.bars:
            return real.unsqueeze(1)
        barred = torch.zeros_like(self.real)
        barred[self.real] = self.barred if self.filler is None else self.barred[~self.filler]
        barred &= self.real.sum(dim=1, keepdim=True) > 1
        return (real & ~torch.diag_embed(barred)).unsqueeze(1)

    @cached_property
    def rows(self) -> Tensor:
        """The cells of a padded batch that are real, int64 (real tokens,), on the CPU."""
        return self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def _opened(self) -> dict[torch.device, Tensor]:
        return {}

    def open_on(self, device: torch.device) -> Tensor:
        """Returns `open`, moved once per device for all layers."""
        if device not in self._opened:
            self._opened[device] = on_device(self.open, device)
        return self._opened[device]

    @cached_property
    def _biases(self) -> dict[torch.device, Any]:
        return {}

    def bias(self, device: torch.device) -> Any:
        """Returns the xformers `BlockDiagonalMask`, built once per device for all layers."""
        if device not in self._biases:
            # it warns that its C++ extensions are missing on a CPU; nothing here needs them
            logging.getLogger("xformers").setLevel(logging.ERROR)
            from xformers.ops.fmha.attn_bias import BlockDiagonalMask

            self._biases[device] = BlockDiagonalMask.from_seqlens(list(self.lengths), device=device)
        return self._biases[device]


def attend(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, kernel: Kernel | None = None
) -> Tensor:
    """Attends within segments: three times (tokens, heads, dim) to (tokens, heads, dim).

    `kernel` is chosen by the device unless given; where tokens are filler or barred, it is
    PyTorch's in any case. What comes out for filler means nothing. Raises `ValueError` where the
    segments do not add up to the tokens (xformers would read past the end without a word).
    """
    if not len(query) == len(key) == len(value) == segments.total:
        lengths = f"{len(query)} queries, {len(key)} keys, {len(value)} values"
        raise ValueError(f"segments hold {segments.total} tokens but got {lengths}")
    if segments.filler is not None:  # what a padding trainer pays for; no bias of xformers fits
        return _attend_cells(query, key, value, segments.open_on(query.device))
    if segments.bars:
        return _attend_padded(query, key, value, segments)
    if kernel is None:
        kernel = "xformers" if query.is_cuda else "segments"
    if kernel == "xformers":
        return _attend_xformers(query, key, value, segments)
    return _attend_segments(query, key, value, segments)


def _attend_xformers(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    bias = segments.bias(query.device)
    from xformers.ops import memory_efficient_attention

    row = (part.unsqueeze(0) for part in (query, key, value))  # one batch of all tokens
    try:
        attended: Tensor = memory_efficient_attention(*row, attn_bias=bias)
    except NotImplementedError:  # no kernel for this width and type on this GPU
        return _attend_padded(query, key, value, segments)
    return attended.squeeze(0)


def _attend_segments(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    if segments.equal:
        batch = len(segments.lengths)
        attended = F.scaled_dot_product_attention(
            _batched(query, batch), _batched(key, batch), _batched(value, batch)
        )
        return rearrange(attended, "batch heads tokens dim -> (batch tokens) heads dim")
    if max(segments.lengths) <= SHORT:
        return _attend_padded(query, key, value, segments)
    # the kernel that never writes the scores down wants four axes: with three a forward pass
    # takes 1.5 times as long (16 segments of 150-330 tokens, one core)
    rows = (
        rearrange(part, "tokens heads dim -> 1 heads tokens dim") for part in (query, key, value)
    )
    split = (torch.split(row, list(segments.lengths), dim=2) for row in rows)
    each = map(F.scaled_dot_product_attention, *split)
    return torch.cat([rearrange(one, "1 heads tokens dim -> tokens heads dim") for one in each])


def _attend_padded(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    cells, index = segments.real.numel(), on_device(segments.rows, query.device)

    def spread(part: Tensor) -> Tensor:
        return part.new_zeros(cells, *part.shape[1:]).index_copy(0, index, part)

    open_to = segments.open_on(query.device)
    return _attend_cells(spread(query), spread(key), spread(value), open_to)[index]


def _attend_cells(query: Tensor, key: Tensor, value: Tensor, open_to: Tensor) -> Tensor:
    """Attends to the cells that are open; parts are (batch * longest, heads, dim)."""
    batch = len(open_to)
    attended = F.scaled_dot_product_attention(
        _batched(query, batch),
        _batched(key, batch),
        _batched(value, batch),
        attn_mask=open_to,
    )
    return rearrange(attended, "batch heads tokens dim -> (batch tokens) heads dim")


def _batched(part: Tensor, batch: int) -> Tensor:
    return rearrange(part, "(batch tokens) heads dim -> batch heads tokens dim", batch=batch)
