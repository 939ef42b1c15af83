"""Sound at any sample rate is brought to the one that a front end wants."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ablate.audio.torchaudio_import import torchaudio


def resample(waveform: Tensor, rate: int, wanted: int) -> Tensor:
    """Returns float32 (samples,) at the wanted rate; the same tensor if it has that already."""
    if rate == wanted:
        return waveform
    common = math.gcd(rate, wanted)
    # torchaudio is the faster, but its kernel has rate x wanted cells: gigabytes for 44101 Hz
    if rate // common * (wanted // common) <= 1_000_000:
        return _resampler(rate, wanted)(waveform)
    from scipy import signal  # two fifths of what a worker's start would take, for rare rates

    return torch.from_numpy(
        signal.resample_poly(waveform.numpy(), wanted // common, rate // common)
    )


@functools.lru_cache(maxsize=8)
def _resampler(rate: int, wanted: int) -> Callable[[Tensor], Tensor]:
    resampler: Callable[[Tensor], Tensor] = torchaudio.transforms.Resample(rate, wanted)
    return resampler
