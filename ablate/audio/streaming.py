"""Applies front ends to waveforms of any length in bounded memory.

Short waveforms are converted at once. Long ones are read again and again: once per statistic that
is needed of the whole (mean, peak, level), and once to convert them, piece by piece.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ablate.audio.resampling import resample
from ablate.audio.waveform_stream import Samples, WaveformStream

_CHUNK = 1 << 20  # samples that are converted at once


@dataclass(frozen=True)
class Levels:
    """Statistics of a whole waveform."""

    count: int  # samples
    mean: float
    minimum: float
    maximum: float
    mean_square: float

    @property
    def peak(self) -> float:
        """The largest absolute value."""
        return max(-self.minimum, self.maximum)


class ObservedStream(WaveformStream):
    """A waveform whose length and extremes are recorded whenever it is read to its end."""

    def __init__(self, stream: WaveformStream) -> None:
        self._stream = stream
        self._minimum = self._maximum = 0.0
        self.num_samples = 0

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""
        return self._stream.sample_rate

    @property
    def is_corrected(self) -> bool:
        """Whether a plain decoder reads another length."""
        return self._stream.is_corrected

    @property
    def is_cancelled(self) -> bool:
        """Whether mixing the channels removed the sound."""
        return self._stream.is_cancelled

    @property
    def peak_to_peak(self) -> float:
        """The largest minus the smallest sample."""
        return self._maximum - self._minimum

    @property
    def peak(self) -> float:
        """The largest absolute value."""
        return max(-self._minimum, self._maximum)

    def blocks(self) -> Iterator[Samples]:
        """Yields the samples, and records their extremes."""
        minimum, maximum, count = math.inf, -math.inf, 0
        for block in self._stream.blocks():
            minimum, maximum = min(minimum, float(block.min())), max(maximum, float(block.max()))
            count += len(block)
            yield block
        self._minimum, self._maximum, self.num_samples = minimum, maximum, count


def measure_levels(stream: WaveformStream) -> Levels:
    """Reads a waveform once and measures it."""
    count, total, squares = 0, 0.0, 0.0
    minimum, maximum = math.inf, -math.inf
    for block in stream.blocks():
        count += len(block)
        total += float(block.sum(dtype=np.float64))
        squares += float(np.square(block, dtype=np.float64).sum())
        minimum, maximum = min(minimum, float(block.min())), max(maximum, float(block.max()))
    return Levels(count, total / count, minimum, maximum, squares / count)


@dataclass(frozen=True)
class MappedStream(WaveformStream):
    """A waveform to which a function is applied sample by sample."""

    stream: WaveformStream
    function: Callable[[Samples], Samples]

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""
        return self.stream.sample_rate

    def blocks(self) -> Iterator[Samples]:
        """Yields the changed samples."""
        return (self.function(block) for block in self.stream.blocks())


def center(stream: WaveformStream, mean: float) -> WaveformStream:
    """Removes a constant offset."""
    offset = np.float32(mean)
    return MappedStream(stream, lambda block: block - offset)


def scale(stream: WaveformStream, gain: float) -> WaveformStream:
    """Multiplies a waveform by a constant."""
    factor = np.float32(gain)
    return MappedStream(stream, lambda block: block * factor)


@dataclass(frozen=True)
class ResampledStream(WaveformStream):
    """A waveform at another rate: the same samples as `resample` returns for the whole."""

    stream: WaveformStream
    rate: int  # Hz

    @property
    def sample_rate(self) -> int:
        """The new sample rate in Hz."""
        return self.rate

    def blocks(self) -> Iterator[Samples]:
        """Yields the resampled waveform."""
        if self.stream.sample_rate == self.rate:
            return self.stream.blocks()
        return self._resample()

    def _resample(self) -> Iterator[Samples]:
        rate, common = self.stream.sample_rate, math.gcd(self.stream.sample_rate, self.rate)
        unit, new_unit = rate // common, self.rate // common
        # units on either side that the filters reach: six zero crossings, and ten with scipy
        margin = math.ceil(11 * max(unit, new_unit) / new_unit / unit) + 1
        size = max(1, _CHUNK // unit) * unit
        is_first = True
        for chunk, is_last in cut_chunks(self.stream.blocks(), size, 2 * margin * unit):
            samples = resample(torch.from_numpy(chunk), rate, self.rate).numpy()
            first = 0 if is_first else margin * new_unit
            stop = len(samples) if is_last else len(chunk) // unit * new_unit - margin * new_unit
            if stop > first:
                yield samples[first:stop]
            is_first = False


def cut_chunks(
    blocks: Iterator[Samples], size: int, overlap: int
) -> Iterator[tuple[Samples, bool]]:
    """Joins and cuts blocks into chunks of `size` + `overlap` samples, of which the last differs.

    Each chunk repeats the last `overlap` samples of the one before.

    Yields:
        Each chunk, and whether it is the last.
    """
    kept: list[Samples] = []
    total = 0
    for block in blocks:
        kept.append(block)
        total += len(block)
        if total < 2 * size + overlap:
            continue
        joined = np.concatenate(kept)
        place = 0
        while len(joined) - place > size + overlap:
            yield joined[place : place + size + overlap], False
            place += size
        kept, total = [joined[place:]], len(joined) - place
    joined = np.concatenate(kept)
    place = 0
    while len(joined) - place > size + overlap:
        yield joined[place : place + size + overlap], False
        place += size
    yield joined[place:], True


def convert_windows(
    stream: WaveformStream,
    *,
    window: int,
    hop: int,
    before: int,
    convert: Callable[[Tensor], Tensor],
    count: Callable[[int], int],
) -> Iterator[Tensor]:
    """Converts a waveform to the frames that `convert` returns for the whole.

    Args:
        stream: the waveform at the rate of the front end.
        window: samples that a frame is computed from.
        hop: samples from one frame to the next.
        before: samples of a frame's window before the frame's position; 0 if frames are not
            centred and there is no padding.
        convert: converts a waveform (samples,) to frames (frames, bands), the first at sample 0.
        count: returns the number of frames of a waveform of some length.

    Yields:
        Frames, (frames, bands).
    """
    margin = -(-before // hop)  # frames at a border whose windows are padded
    after = -(-(window - before) // hop)
    size = max(1, _CHUNK // hop) * hop
    is_first = True
    for chunk, is_last in cut_chunks(stream.blocks(), size, (margin + after) * hop):
        frames = convert(torch.from_numpy(chunk))
        first = 0 if is_first else margin
        stop = count(len(chunk)) if is_last else size // hop + margin
        if stop > first:
            yield frames[first:stop]
        is_first = False


def normalise_rate(stream: WaveformStream, rate: int) -> WaveformStream:
    """Removes the mean of a waveform and resamples it, as front ends do."""
    return ResampledStream(center(stream, measure_levels(stream).mean), rate)
