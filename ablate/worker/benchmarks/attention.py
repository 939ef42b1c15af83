"""Times attention kernels on segments of unequal length."""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.core.records.benchmarks import KernelTiming
from ablate.model.attention import Kernel, attend, list_kernels
from ablate.model.segments import Segments

HEADS, DIM = 6, 64
SEGMENTS, SHORTEST, LONGEST = 32, 60, 200
ROUNDS = 7


def time_kernels(device: torch.device, clock: Callable[[], float]) -> list[KernelTiming]:
    """Times forward and backward of 32 segments of 60 to 199 tokens, in alternation.

    Returns the median of each kernel, and of the segments padded to one length. `clock` returns
    seconds.
    """
    rng = generator(0, "kernels")
    lengths = torch.randint(SHORTEST, LONGEST, (SEGMENTS,), generator=rng)
    packed = Segments(tuple(lengths.tolist()))
    padded = Segments(
        (LONGEST,) * SEGMENTS, filler=~(torch.arange(LONGEST) < lengths[:, None]).flatten()
    )
    variants: dict[str, tuple[Segments, Kernel | None]] = {
        kernel: (packed, kernel) for kernel in list_kernels(device, _dtype(device), DIM)
    }
    variants["padded batch"] = padded, None
    inputs = {name: _draw_inputs(segments, device) for name, (segments, _) in variants.items()}
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(1 + ROUNDS):
        for name, (segments, kernel) in variants.items():
            started = clock()
            loss = attend(*inputs[name], segments, kernel=kernel).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            if number:  # the first round is slow
                times[name].append(clock() - started)
    return [
        KernelTiming(name=name, milliseconds=1000 * statistics.median(seconds))
        for name, seconds in times.items()
    ]


def _draw_inputs(segments: Segments, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    shape = (segments.num_tokens, HEADS, DIM)
    query, key, value = (
        torch.randn(shape, device=device, dtype=_dtype(device), requires_grad=True)
        for _ in range(3)
    )
    return query, key, value


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32
