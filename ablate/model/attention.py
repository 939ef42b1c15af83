"""Block-diagonal attention over packed segments, by one of four equivalent kernels.

The tokens of all samples are concatenated; a token attends to its own segment only. On CUDA the
kernel is `xformers.ops.memory_efficient_attention` with a block-diagonal bias; if no operator of
xformers serves, it is PyTorch's variable-length flash attention; if that does not serve either, it
is PyTorch's attention over a padded batch with a mask. On a CPU it is PyTorch's scaled dot-product
attention, segment by segment or padded, whichever is faster.
"""

import functools
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ablate.core.device import on_device
from ablate.model.segments import Segments

Kernel = Literal["xformers", "varlen", "padded", "segments"]

# longest segment, in tokens, for which padding wastes less than one call per segment: forward and
# backward of 16 segments of 8-21 tokens take 0.5 ms padded and 2.0 ms looped; of 60-200 tokens,
# 119 ms and 71 ms (one core)
SHORT = 32
HALF = (torch.float16, torch.bfloat16)
LARGEST_WIDTH = 256  # widest head that flash attention supports
LEAST_CAPABILITY = (8, 0)  # compute capability that flash attention needs (Ampere)


class KernelUnavailableError(RuntimeError):
    """The attention kernel that was requested cannot serve; the message says why."""


@dataclass(frozen=True)
class KernelChoice:
    """The attention kernel that serves heads of one width and type on one device.

    Attributes:
        kernel: The kernel.
        operator: The operator behind it, such as `fa2F@2.5.7-pt`; empty if there is only one.
        obstacles: Why each kernel that would be faster cannot serve, by kernel.
    """

    kernel: Kernel
    operator: str
    obstacles: dict[Kernel, str]

    @property
    def name(self) -> str:
        """The kernel with its operator, such as `xformers fa2F@2.5.7-pt`."""
        return f"{self.kernel} {self.operator}".strip()

    @property
    def warning(self) -> str | None:
        """Says that a slower kernel than xformers serves, and why; None if that is not so."""
        if "xformers" not in self.obstacles:
            return None
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.obstacles.items())
        return f"attention is computed by the slower kernel `{self.kernel}` ({reasons})"


# what serves if some tokens may not attend to others of their segment
MASKED = KernelChoice("padded", "with a mask", {})

_recorders: list[dict[str, KernelChoice]] = []


@contextmanager
def record_kernels(served: dict[str, KernelChoice]) -> Iterator[None]:
    """Adds each kernel that computes attention inside the block to `served`, by its name."""
    _recorders.append(served)
    try:
        yield
    finally:
        _recorders.remove(served)


def _serves_varlen(query: Tensor, kernel: Kernel | None) -> bool:
    width = query.shape[-1]
    return (kernel or choose_kernel(query.device, query.dtype, width).kernel) == "varlen"


def _record(choice: KernelChoice) -> None:
    for served in _recorders:
        served.setdefault(choice.name, choice)


@functools.cache
def choose_kernel(device: torch.device, dtype: torch.dtype, width: int) -> KernelChoice:
    """Returns the fastest attention kernel that can serve.

    Args:
        device: Where the tokens are.
        dtype: Type of queries, keys and values.
        width: Dimensions per head.
    """
    if device.type != "cuda":
        return KernelChoice("segments", "", {})
    operator, obstacle = _find_xformers_operator(device, dtype, width)
    if operator is not None:
        return KernelChoice("xformers", operator, {})
    obstacles: dict[Kernel, str] = {"xformers": obstacle}
    if (varlen_obstacle := _find_varlen_obstacle(device, dtype, width)) is None:
        return KernelChoice("varlen", "", obstacles)
    return KernelChoice("padded", "", {**obstacles, "varlen": varlen_obstacle})


def list_kernels(device: torch.device, dtype: torch.dtype, width: int) -> list[Kernel]:
    """Lists the kernels that can serve, as `choose_kernel` takes them; the first is the fastest."""
    fastest = choose_kernel(device, dtype, width).kernel
    if fastest == "segments":
        return ["segments", "padded"]
    varlen = _find_varlen_obstacle(device, dtype, width) is None
    others: list[Kernel] = ["varlen", "padded"] if varlen else ["padded"]
    return [fastest, *(kernel for kernel in others if kernel != fastest)]


def attend(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, *, kernel: Kernel | None = None
) -> Tensor:
    """Computes attention within segments.

    Args:
        query: `(tokens, heads, dim)`.
        key: The same shape.
        value: The same shape.
        segments: The segments, whose lengths add up to `tokens`.
        kernel: By default the one that `choose_kernel` returns. Filler tokens, and tokens that
            exclude themselves, are always handled by PyTorch's attention with a mask; so are
            causal segments where `varlen` would serve.

    Returns:
        `(tokens, heads, dim)`. Rows of filler tokens are undefined.

    Raises:
        ValueError: The segments do not add up to the tokens; xformers would silently read past
            the end.
        KernelUnavailableError: The kernel that was requested cannot serve.
    """
    if not len(query) == len(key) == len(value) == segments.num_tokens:
        lengths = f"{len(query)} queries, {len(key)} keys, {len(value)} values"
        raise ValueError(f"segments hold {segments.num_tokens} tokens but got {lengths}")
    if segments.filler is not None:  # no xformers bias covers filler in a padded batch
        _record(MASKED)
        return _attend_cells(query, key, value, segments.allowed_on(query.device))
    if segments.any_excludes_self or (segments.causal and _serves_varlen(query, kernel)):
        _record(MASKED)
        return _attend_padded(query, key, value, segments)
    if kernel is None:
        choice = choose_kernel(query.device, query.dtype, query.shape[-1])
        _record(choice)
        kernel = choice.kernel
    return _KERNELS[kernel](query, key, value, segments)


def _attend_xformers(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    from xformers.ops import memory_efficient_attention

    operator, obstacle = _find_xformers_operator(query.device, query.dtype, query.shape[-1])
    if operator is None:
        raise KernelUnavailableError(f"the attention kernel `xformers` cannot serve: {obstacle}")
    bias = segments.cached("bias", query.device, lambda: _create_bias(segments, query.device))
    row = (part.unsqueeze(0) for part in (query, key, value))  # a batch of one
    attended: Tensor = memory_efficient_attention(*row, attn_bias=bias)
    return attended.squeeze(0)


def _create_bias(segments: Segments, device: torch.device) -> Any:
    bias = _block_diagonal_bias(segments.lengths, device)
    return bias.make_causal() if segments.causal else bias


def _block_diagonal_bias(lengths: tuple[int, ...], device: torch.device) -> Any:
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    return BlockDiagonalMask.from_seqlens(list(lengths), device=device)


@functools.cache
def _find_xformers_operator(
    device: torch.device, dtype: torch.dtype, width: int
) -> tuple[str | None, str]:
    """Returns the forward operator of xformers that serves, or None and why none does.

    An operator counts if xformers also has one for its backward pass.
    """
    if importlib.util.find_spec("xformers") is None:
        return None, "it is not installed"
    # on a CPU, xformers warns on import that its extension is missing
    logging.getLogger("xformers").setLevel(logging.ERROR)
    from xformers.ops import fmha

    tokens = torch.empty(1, 2, 1, width, device=device, dtype=dtype)
    inputs = fmha.Inputs(tokens, tokens, tokens, attn_bias=_block_diagonal_bias((1, 1), device))
    pairs = [
        (fmha.flash3.FwOp, fmha.flash3.BwOp),
        (fmha.flash.FwOp, fmha.flash.BwOp),
        (fmha.cutlass.FwOp, fmha.cutlass.BwOp),
    ]
    reasons = []
    for pair in pairs:  # in the order in which xformers prefers them
        obstacles = [reason for each in pair for reason in each.not_supported_reasons(inputs)]
        if not obstacles:
            return str(pair[0].NAME), ""
        reasons.append(f"{pair[0].NAME}: {', '.join(dict.fromkeys(obstacles))}")
    return None, "; ".join(reasons)


def _attend_varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    if obstacle := _find_varlen_obstacle(query.device, query.dtype, query.shape[-1]):
        raise KernelUnavailableError(f"the attention kernel `varlen` cannot serve: {obstacle}")
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = segments.offsets_on(query.device), max(segments.lengths)
    attended = varlen_attn(query, key, value, offsets, offsets, longest, longest)
    assert isinstance(attended, Tensor)  # a tuple only if more is requested
    return attended


def _find_varlen_obstacle(device: torch.device, dtype: torch.dtype, width: int) -> str | None:
    """Returns why PyTorch's variable-length attention cannot serve; None if it can."""
    if importlib.util.find_spec("torch.nn.attention.varlen") is None:
        return f"PyTorch {torch.__version__} has none; 2.10 has"
    if device.type != "cuda" or not torch.backends.cuda.is_flash_attention_available():
        return "it needs a CUDA device and a PyTorch with flash attention"
    if torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        return f"it needs a GPU of compute capability {LEAST_CAPABILITY[0]}.0 or newer"
    if dtype not in HALF:
        return f"it needs bf16 or fp16, not {str(dtype).removeprefix('torch.')}"
    if width % 8 or width > LARGEST_WIDTH:
        return f"it needs heads of a multiple of 8 dimensions, {LARGEST_WIDTH} at most, not {width}"
    return None


def _attend_segments(query: Tensor, key: Tensor, value: Tensor, segments: Segments) -> Tensor:
    if segments.has_equal_lengths:
        batch = len(segments.lengths)
        attended = F.scaled_dot_product_attention(
            _batched(query, batch),
            _batched(key, batch),
            _batched(value, batch),
            is_causal=segments.causal,
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
    attend_one = functools.partial(F.scaled_dot_product_attention, is_causal=segments.causal)
    each = map(attend_one, *split)
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


_KERNELS = {
    "xformers": _attend_xformers,
    "varlen": _attend_varlen,
    "padded": _attend_padded,
    "segments": _attend_segments,
}
