"""Resamples waveforms to the sample rate of a front end."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ablate.audio.torchaudio_import import torchaudio


def resample(waveform: Tensor, rate: int, new_rate: int) -> Tensor:
    """Resamples float32 (samples,) from `rate` to `new_rate`; returns the same tensor if equal."""
    if rate == new_rate:
        return waveform
    common = math.gcd(rate, new_rate)
    # torchaudio is faster, but its kernel has rate x new_rate cells: gigabytes for 44101 Hz
    if rate // common * (new_rate // common) <= 1_000_000:
        return _resampler(rate, new_rate)(waveform)
    from scipy import signal  # imported late: it takes 40 % of a worker's start

    return torch.from_numpy(
        signal.resample_poly(waveform.numpy(), new_rate // common, rate // common)
    )


@functools.lru_cache(maxsize=8)
def _resampler(rate: int, new_rate: int) -> Callable[[Tensor], Tensor]:
    resampler: Callable[[Tensor], Tensor] = torchaudio.transforms.Resample(rate, new_rate)
    return resampler
