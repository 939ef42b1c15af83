"""Attention over packed segments: one function, two kernels that give the same numbers.

Tokens of all samples lie in one row; a token attends to its own segment only. On CUDA this is
`xformers.ops.memory_efficient_attention` with a block-diagonal bias; elsewhere PyTorch's own
kernel, one call per segment, or a single call where all segments have one length.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

Kernel = Literal["xformers", "segments"]


@dataclass(frozen=True)
class Segments:
    """The lengths of consecutive segments in a row of packed tokens. None may be empty."""

    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"every segment needs a token; got lengths {self.lengths}")

    @property
    def total(self) -> int:
        return sum(self.lengths)

    @property
    def equal(self) -> bool:
        """Whether all segments have one length."""
        return len(set(self.lengths)) == 1

    @property
    def pairs(self) -> int:
        """How many (query, key) pairs attend to one another."""
        return sum(length * length for length in self.lengths)

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

    `kernel` is chosen by the device unless given. Raises `ValueError` where the segments do not
    add up to the tokens (xformers would read past the end without a word).
    """
    if not len(query) == len(key) == len(value) == segments.total:
        lengths = f"{len(query)} queries, {len(key)} keys, {len(value)} values"
        raise ValueError(f"segments hold {segments.total} tokens but got {lengths}")
    if kernel is None:
        kernel = "xformers" if query.is_cuda else "segments"
    if kernel == "xformers":
        return _attend_xformers(query, key, value, segments)
    return _attend_segments(query, key, value, segments)


def _attend_xformers(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    bias = segments.bias(query.device)
    from xformers.ops import memory_efficient_attention

    # the kernels want one batch of all tokens; under autocast q, k and v may differ in type
    row = [part.to(value.dtype).unsqueeze(0) for part in (query, key, value)]
    attended: Tensor = memory_efficient_attention(*row, attn_bias=bias)
    return attended.squeeze(0)


def _attend_segments(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    if segments.equal:
        rows = (_batched(part, len(segments.lengths)) for part in (query, key, value))
        attended = _attend_all(*rows)
        return rearrange(attended, "batch heads tokens dim -> (batch tokens) heads dim")
    rows = (rearrange(part, "tokens heads dim -> heads tokens dim") for part in (query, key, value))
    split = (torch.split(row, list(segments.lengths), dim=1) for row in rows)
    attended = torch.cat([_attend_all(*one) for one in zip(*split, strict=True)], dim=1)
    return rearrange(attended, "heads tokens dim -> tokens heads dim")


def _attend_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def _batched(part: Tensor, batch: int) -> Tensor:
    return rearrange(part, "(batch tokens) heads dim -> batch heads tokens dim", batch=batch)
