"""The front end of models that read the waveform: one band, one frame per sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ablate.audio.front_end import AbstractFrontEnd, Normalisation, check_rate_and_normalisation
from ablate.audio.resampling import resample
from ablate.audio.streaming import measure_levels, normalise_rate, scale
from ablate.audio.waveform_stream import WaveformStream


@dataclass(frozen=True, kw_only=True)
class Waveform(AbstractFrontEnd):
    """Samples at one rate and level, to be cut by `ablate.model.patchify.Windows`.

    The clip store keeps 11 significant bits of each sample: the rounding error is 70 dB below the
    signal, if that is louder than -80 dB of full scale. Scaled clips need no normalisation with
    dataset statistics, which would only apply one gain to all of them.

    Args:
        sample_rate: Sample rate in Hz; clips with another one are resampled.
        level: How a clip is scaled: to mean 0 and deviation 1 as in wav2vec 2.0 (`unit`), to a peak
            of 1 (`peak`), or not at all (`as_is`).
        normalisation: As in `LogMel`; by default a fixed (0, 1), which changes nothing.

    Raises:
        ValueError: for a `sample_rate` or `normalisation` out of range.

    Example:
        mel: {type: ablate.audio.waveform.Waveform, sample_rate: 16000}
    """

    sample_rate: int = 16000
    level: Literal["unit", "peak", "as_is"] = "unit"
    normalisation: Normalisation = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_rate_and_normalisation(self.sample_rate, self.normalisation)

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Converts a waveform, float32 (samples,), to float32 (samples at `sample_rate`, 1)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        match self.level:
            case "unit":  # the clamp does not amplify silence, or signals below the 16-bit range
                samples = samples / samples.square().mean().sqrt().clamp(min=1e-5)
            case "peak":
                samples = samples / samples.abs().max().clamp(min=1e-5)
        return samples.unsqueeze(1)

    def convert_stream(self, stream: WaveformStream) -> Iterator[Tensor]:
        """Converts a waveform of any length to the same samples, piece by piece."""
        sound = normalise_rate(stream, self.sample_rate)
        match self.level:
            case "unit":
                sound = scale(sound, 1 / max(measure_levels(sound).mean_square ** 0.5, 1e-5))
            case "peak":
                sound = scale(sound, 1 / max(measure_levels(sound).peak, 1e-5))
        return (torch.from_numpy(block).unsqueeze(1) for block in sound.blocks())

    @property
    def bands(self) -> int:
        """One."""
        return 1

    @property
    def hop_seconds(self) -> float:
        """The time from one sample to the next."""
        return 1 / self.sample_rate

    @property
    def window_seconds(self) -> float:
        """The duration of one sample: frames do not overlap."""
        return 1 / self.sample_rate
