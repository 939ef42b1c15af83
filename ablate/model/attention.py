"""Block-diagonal attention over packed segments, with one of two equivalent kernels.

The tokens of all samples are concatenated; a token attends to its own segment only. On CUDA the
kernel is `xformers.ops.memory_efficient_attention` with a block-diagonal bias. Elsewhere it is
PyTorch's scaled dot-product attention: one call if all segments have the same length, one padded
call if they are short, one call per segment otherwise.
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

# longest segment, in tokens, for which padding wastes less than one call per segment: forward and
# backward of 16 segments of 8-21 tokens take 0.5 ms padded and 2.0 ms looped; of 60-200 tokens,
# 119 ms and 71 ms (one core)
SHORT = 32


@dataclass(frozen=True)
class Segments:
    """Lengths of consecutive segments of packed tokens.

    Args:
        lengths: Tokens per segment, each at least 1.
        filler: bool `(tokens,)` on the CPU: padding tokens, which nothing attends to. Needs
            segments of equal lengths.
        exclude_self: bool `(tokens,)` on the CPU: tokens that attend to their whole segment
            except themselves. A token that is alone in its segment still attends to itself.

    Raises:
        ValueError: A segment is empty, filler is in segments of different lengths, or a mark has
            the wrong number of tokens.
    """

    lengths: tuple[int, ...]
    filler: Tensor | None = field(default=None, compare=False)
    exclude_self: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"every segment needs at least one token; got lengths {self.lengths}")
        if self.filler is not None and not self.has_equal_lengths:
            raise ValueError(f"padded segments must have equal lengths; got {self.lengths}")
        for name, marked in (("filler", self.filler), ("exclude_self", self.exclude_self)):
            if marked is not None and len(marked) != self.num_tokens:
                raise ValueError(f"`{name}` marks {len(marked)} tokens of {self.num_tokens}")

    @property
    def num_tokens(self) -> int:
        """Number of tokens, including filler."""
        return sum(self.lengths)

    @property
    def num_real(self) -> int:
        """Number of tokens without filler."""
        return self.num_tokens - (0 if self.filler is None else int(self.filler.sum()))

    @property
    def has_equal_lengths(self) -> bool:
        """Whether all segments have the same length."""
        return len(set(self.lengths)) == 1

    @property
    def num_pairs(self) -> int:
        """Number of (query, key) pairs within segments, including filler."""
        return sum(length * length for length in self.lengths)

    @cached_property
    def real(self) -> Tensor:
        """Marks the cells of a padded batch that are not filler.

        bool `(segments, longest)` on the CPU.
        """
        if self.filler is not None:
            return ~self.filler.view(len(self.lengths), -1)
        return torch.arange(max(self.lengths)) < torch.tensor(self.lengths).unsqueeze(1)

    @cached_property
    def any_excludes_self(self) -> bool:
        """Whether any token does not attend to itself."""
        return self.exclude_self is not None and bool(self.exclude_self.any())

    @cached_property
    def allowed(self) -> Tensor:
        """Marks the keys that each cell of a padded batch may attend to, bool on the CPU.

        `(segments, 1, 1, longest)` if all cells of a segment attend to the same keys, otherwise
        `(segments, 1, longest, longest)` with queries before keys.
        """
        real = self.real.unsqueeze(1)
        if self.exclude_self is None or not self.any_excludes_self:
            return real.unsqueeze(1)
        marks = self.exclude_self
        excluded = torch.zeros_like(self.real)
        excluded[self.real] = marks if self.filler is None else marks[~self.filler]
        excluded &= self.real.sum(dim=1, keepdim=True) > 1
        return (real & ~torch.diag_embed(excluded)).unsqueeze(1)

    @cached_property
    def rows(self) -> Tensor:
        """Indices of the cells of a padded batch that are not filler.

        int64 `(tokens without filler,)` on the CPU.
        """
        return self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def _allowed_by_device(self) -> dict[torch.device, Tensor]:
        return {}

    def allowed_on(self, device: torch.device) -> Tensor:
        """Returns `allowed` on `device`, copied once for all layers."""
        if device not in self._allowed_by_device:
            self._allowed_by_device[device] = on_device(self.allowed, device)
        return self._allowed_by_device[device]

    @cached_property
    def _biases(self) -> dict[torch.device, Any]:
        return {}

    def bias(self, device: torch.device) -> Any:
        """Returns the xformers `BlockDiagonalMask`, built once per device for all layers."""
        if device not in self._biases:
            # xformers warns on import that its C++ extensions are missing; they are not needed here
            logging.getLogger("xformers").setLevel(logging.ERROR)
            from xformers.ops.fmha.attn_bias import BlockDiagonalMask

            self._biases[device] = BlockDiagonalMask.from_seqlens(list(self.lengths), device=device)
        return self._biases[device]


def attend(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, kernel: Kernel | None = None
) -> Tensor:
    """Computes attention within segments.

    Args:
        query: `(tokens, heads, dim)`.
        key: The same shape.
        value: The same shape.
        segments: The segments, whose lengths add up to `tokens`.
        kernel: `xformers` or `segments` (PyTorch); by default the device decides. PyTorch's is
            used in any case if there are filler tokens or tokens that exclude themselves.

    Returns:
        `(tokens, heads, dim)`. Rows of filler tokens are undefined.

    Raises:
        ValueError: The segments do not add up to the tokens; xformers would silently read past
            the end.
    """
    if not len(query) == len(key) == len(value) == segments.num_tokens:
        lengths = f"{len(query)} queries, {len(key)} keys, {len(value)} values"
        raise ValueError(f"segments hold {segments.num_tokens} tokens but got {lengths}")
    if segments.filler is not None:  # no xformers bias covers filler in a padded batch
        return _attend_cells(query, key, value, segments.allowed_on(query.device))
    if segments.any_excludes_self:
        return _attend_padded(query, key, value, segments)
    if kernel is None:
        kernel = "xformers" if query.is_cuda else "segments"
    if kernel == "xformers":
        return _attend_xformers(query, key, value, segments)
    return _attend_segments(query, key, value, segments)


def _attend_xformers(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    bias = segments.bias(query.device)
    from xformers.ops import memory_efficient_attention

    row = (part.unsqueeze(0) for part in (query, key, value))  # a batch of one
    try:
        attended: Tensor = memory_efficient_attention(*row, attn_bias=bias)
    except NotImplementedError:  # no kernel for this width and type on this GPU
        return _attend_padded(query, key, value, segments)
    return attended.squeeze(0)


def _attend_segments(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    if segments.has_equal_lengths:
        batch = len(segments.lengths)
        attended = F.scaled_dot_product_attention(
            _batched(query, batch), _batched(key, batch), _batched(value, batch)
        )
        return rearrange(attended, "batch heads tokens dim -> (batch tokens) heads dim")
    if max(segments.lengths) <= SHORT:
        return _attend_padded(query, key, value, segments)
    # PyTorch's memory-efficient kernel needs four axes: with three a forward pass takes 1.5 times
    # as long (16 segments of 150-330 tokens, one core)
    rows = (
        rearrange(part, "tokens heads dim -> 1 heads tokens dim") for part in (query, key, value)
    )
    split = (torch.split(row, list(segments.lengths), dim=2) for row in rows)
    each = map(F.scaled_dot_product_attention, *split)
    return torch.cat([rearrange(one, "1 heads tokens dim -> tokens heads dim") for one in each])


def _attend_padded(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    cells, index = segments.real.numel(), on_device(segments.rows, query.device)

    def to_cells(part: Tensor) -> Tensor:
        return part.new_zeros(cells, *part.shape[1:]).index_copy(0, index, part)

    allowed = segments.allowed_on(query.device)
    return _attend_cells(to_cells(query), to_cells(key), to_cells(value), allowed)[index]


def _attend_cells(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """Attends to the allowed cells; inputs are `(batch * longest, heads, dim)`."""
    batch = len(allowed)
    attended = F.scaled_dot_product_attention(
        _batched(query, batch),
        _batched(key, batch),
        _batched(value, batch),
        attn_mask=allowed,
    )
    return rearrange(attended, "batch heads tokens dim -> (batch tokens) heads dim")


def _batched(part: Tensor, batch: int) -> Tensor:
    return rearrange(part, "(batch tokens) heads dim -> batch heads tokens dim", batch=batch)
