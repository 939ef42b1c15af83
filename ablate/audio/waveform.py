"""The front end of models that read the waveform itself: one band, whose frames are samples."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ablate.audio.mel import AbstractFrontEnd, Normalisation, check_rate_and_normalisation
from ablate.audio.resampling import resample


@dataclass(frozen=True, kw_only=True)
class Waveform(AbstractFrontEnd):
    """A clip's samples, at one rate and level, for `ablate.model.patchify.Windows` to cut.

    The clip store keeps 11 significant bits of each sample: rounding lies 70 dB below the sound,
    if that is no softer than -80 dB of full scale. Levelled clips need no normalisation by the
    data set, which would be one gain for all of them.
    """

    sample_rate: int = 16000
    # of the whole clip: mean 0 and deviation 1 as in wav2vec 2.0, or the loudest sample 1
    level: Literal["unit", "peak", "as_is"] = "unit"
    normalisation: Normalisation = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_rate_and_normalisation(self.sample_rate, self.normalisation)

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Turns a waveform, float32 (samples,), into float32 (samples at this rate, 1)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        match self.level:
            case "unit":  # silence, and what is softer than 16 bits can say, is not made loud
                samples = samples / samples.square().mean().sqrt().clamp(min=1e-5)
            case "peak":
                samples = samples / samples.abs().max().clamp(min=1e-5)
        return samples.unsqueeze(1)

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
        """A sample's own time: neighbours share nothing."""
        return 1 / self.sample_rate
