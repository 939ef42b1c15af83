"""Waveforms of any length, read block by block."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]  # (samples,)
_PIECE = 1 << 20  # samples


class WaveformStream(ABC):
    """A waveform of one channel; `blocks` can be called several times, and decodes each time."""

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """The sample rate in Hz."""

    @abstractmethod
    def blocks(self) -> Iterator[Samples]:
        """Yields the samples from the first to the last, in arrays of any length above zero."""

    @property
    def is_corrected(self) -> bool:
        """Whether a plain decoder reads another length. Known once all blocks were read."""
        return False

    @property
    def is_cancelled(self) -> bool:
        """Whether mixing the channels removed the sound. Known once all blocks were read."""
        return False

    def read(self) -> Samples:
        """Returns all samples, (samples,)."""
        blocks = list(self.blocks())
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def read_if_short(self, max_samples: int) -> Samples | None:
        """Returns all samples, or None if there are more than `max_samples`."""
        blocks, total = [], 0
        for block in self.blocks():
            blocks.append(block)
            total += len(block)
            if total > max_samples:
                return None
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


@dataclass(frozen=True)
class SamplesInMemory(WaveformStream):
    """A waveform that is already decoded."""

    samples: Samples
    rate: int  # Hz

    @property
    def sample_rate(self) -> int:
        """The sample rate in Hz."""
        return self.rate

    def blocks(self) -> Iterator[Samples]:
        """Yields the waveform in pieces."""
        for start in range(0, len(self.samples), _PIECE):
            yield self.samples[start : start + _PIECE]

    def read(self) -> Samples:
        """Returns the waveform."""
        return self.samples
