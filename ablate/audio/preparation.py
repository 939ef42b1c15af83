"""Preprocesses waveforms before a front end: removes silence and equalises levels.

The best encoder of the ICME 2025 challenge on X-ARES used both. Every front end removes a constant
offset already.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ablate.audio.front_end import AbstractFrontEnd, Normalisation
from ablate.audio.streaming import center, cut_chunks, measure_levels, scale
from ablate.audio.waveform_stream import Samples, WaveformStream

_SEGMENT_SECONDS = 0.02
_SILENCE = 1e-5  # RMS, -100 dB of full scale; quieter clips are not amplified


@dataclass(frozen=True, kw_only=True)
class Prepared(AbstractFrontEnd):
    """Applies another front end to preprocessed waveforms.

    Removing silence shifts whatever follows it: the times of event labels no longer match.

    Args:
        front_end: The other front end.
        silence_db: If set, segments of 20 ms that are this far below the loudest one are removed.
        level_db: If set, each clip is scaled to this RMS level, relative to full scale.

    Raises:
        ValueError: if neither `silence_db` nor `level_db` is set, or one is out of range.

    Example:
        mel: {type: ablate.audio.preparation.Prepared, silence_db: 60,
          front_end: {type: ablate.audio.mel.LogMel}}
    """

    front_end: AbstractFrontEnd
    silence_db: float | None = None
    level_db: float | None = None

    def __post_init__(self) -> None:
        if self.silence_db is None and self.level_db is None:
            raise ValueError(
                "set `silence_db`, `level_db` or both; `Prepared` does nothing without them"
            )
        if self.silence_db is not None and self.silence_db <= 0:
            raise ValueError(f"`silence_db` must be above 0; got {self.silence_db}")
        if self.level_db is not None and not -100 < self.level_db <= 0:
            raise ValueError(f"`level_db` must lie in (-100, 0]; got {self.level_db}")

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Converts a waveform, float32 (samples,), to frames, float32 (frames, bands)."""
        sound = waveform - waveform.mean()
        if self.silence_db is not None:
            sound = _remove_silence(sound, round(_SEGMENT_SECONDS * sample_rate), self.silence_db)
        level = sound.square().mean().sqrt()
        if self.level_db is not None and level > _SILENCE:
            sound = sound * (10 ** (self.level_db / 20) / level)
        return self.front_end(sound, sample_rate)

    def convert_stream(self, stream: WaveformStream) -> Iterator[Tensor]:
        """Converts a waveform of any length to the same frames, piece by piece."""
        sound = center(stream, measure_levels(stream).mean)
        if self.silence_db is not None:
            sound = _WithoutSilence.measure(sound, self.silence_db)
        level = measure_levels(sound).mean_square ** 0.5
        if self.level_db is not None and level > _SILENCE:
            sound = scale(sound, 10 ** (self.level_db / 20) / level)
        return self.front_end.convert_stream(sound)

    @property
    def bands(self) -> int:
        """The number of mel bands of `front_end`."""
        return self.front_end.bands

    @property
    def hop_seconds(self) -> float:
        """The time from one frame to the next."""
        return self.front_end.hop_seconds

    @property
    def window_seconds(self) -> float:
        """The time span that one frame is computed from."""
        return self.front_end.window_seconds

    @property
    def normalisation(self) -> Normalisation:
        """How frames are normalised, as `front_end` does."""
        return self.front_end.normalisation


def _remove_silence(sound: Tensor, segment: int, silence_db: float) -> Tensor:
    """Joins the segments that are loud enough; a silent clip is returned unchanged."""
    segments = torch.split(sound, max(1, segment))
    levels = torch.stack([part.square().mean().sqrt() for part in segments])
    loudest = levels.max()
    if loudest <= _SILENCE:
        return sound
    kept = levels >= loudest * 10 ** (-silence_db / 20)
    return torch.cat([part for part, keep in zip(segments, kept.tolist(), strict=True) if keep])


@dataclass(frozen=True)
class _WithoutSilence(WaveformStream):
    """The segments of a waveform that are loud enough."""

    stream: WaveformStream
    threshold: float  # RMS

    @classmethod
    def measure(cls, stream: WaveformStream, silence_db: float) -> WaveformStream:
        """Finds the loudest segment; a silent waveform is returned unchanged."""
        loudest = max(_compute_level(segment) for segment in _cut_segments(stream))
        if loudest <= _SILENCE:
            return stream
        return cls(stream, loudest * 10 ** (-silence_db / 20))

    @property
    def sample_rate(self) -> int:
        return self.stream.sample_rate

    def blocks(self) -> Iterator[Samples]:
        segments = _cut_segments(self.stream)
        return (part for part in segments if _compute_level(part) >= self.threshold)


def _compute_level(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def _cut_segments(stream: WaveformStream) -> Iterator[Samples]:
    size = max(1, round(_SEGMENT_SECONDS * stream.sample_rate))
    for chunk, _ in cut_chunks(stream.blocks(), size * 1000, 0):
        yield from (chunk[start : start + size] for start in range(0, len(chunk), size))
