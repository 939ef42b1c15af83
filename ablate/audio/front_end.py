"""Defines what a front end does: it converts waveforms to frames, from which patches are cut."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ablate.audio.waveform_stream import WaveformStream

# statistics of the pre-training clips, per band or over all bands; or a fixed (mean, deviation)
Normalisation = Literal["bands", "all"] | tuple[float, float]


class AbstractFrontEnd(ABC):
    """Converts waveforms to frames. Subclasses are frozen keyword-only dataclasses.

    A front end resamples waveforms of another sample rate and removes their mean. It returns at
    least one frame, and finite values for silence and for a single sample. `LogMel` is an example.
    """

    @abstractmethod
    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Converts a waveform to frames.

        Args:
            waveform: float32 (samples,).
            sample_rate: Sample rate of the waveform in Hz.

        Returns:
            float32 (frames, bands).
        """

    def convert_stream(self, stream: WaveformStream) -> Iterator[Tensor]:
        """Converts a waveform of any length to the same frames, piece by piece.

        By default the waveform is read at once; front ends that override this need little memory
        for long clips.

        Args:
            stream: The waveform, at any sample rate.

        Yields:
            Frames, float32 (frames, bands).
        """
        yield self(torch.from_numpy(stream.read()), stream.sample_rate)

    @property
    @abstractmethod
    def bands(self) -> int:
        """The number of mel bands."""

    @property
    @abstractmethod
    def hop_seconds(self) -> float:
        """The time from one frame to the next."""

    @property
    @abstractmethod
    def window_seconds(self) -> float:
        """The time span that one frame is computed from; frames overlap by window - hop."""

    @property
    @abstractmethod
    def normalisation(self) -> Normalisation:
        """How frames are normalised when they are read: (frames - mean) / deviation."""


def check_rate_and_normalisation(sample_rate: int, normalisation: Normalisation) -> None:
    """Raises `ValueError` for a rate outside [1000, 384000] Hz or a deviation of 0 or less."""
    if not 1000 <= sample_rate <= 384000:
        raise ValueError(f"`sample_rate` must lie in [1000, 384000], got {sample_rate}")
    if isinstance(normalisation, tuple) and normalisation[1] <= 0:
        value = list(normalisation)
        raise ValueError(f"`normalisation` must be a mean and a deviation above 0, got {value}")
