"""What the normalised values of a batch mean: logarithms of power, or samples of a waveform."""

from dataclasses import dataclass

from torch import Tensor

LEAST = 1e-12  # power below which a value is silence


@dataclass(frozen=True)
class InputScale:
    """What the normalised values of a batch mean.

    Args:
        mean: What was subtracted from each band, float (bands,).
        std: What each band was divided by, float (bands,).
        unit: Size of a natural logarithm of power in the values before normalisation: 1 for natural
            logarithms, 10 / ln(10) for decibels.
        hop_seconds: Time from one frame to the next.
    """

    mean: Tensor
    std: Tensor
    unit: float = 1.0
    hop_seconds: float = 0.01

    @property
    def is_waveform(self) -> bool:
        """Whether values are samples of a waveform, not logarithms of power."""
        return len(self.mean) == 1

    def to_sound(self, mels: Tensor) -> Tensor:
        """Converts normalised values, (clips, bands, frames), to power, or to samples."""
        values = mels.double() * self.std.view(-1, 1) + self.mean.view(-1, 1)
        return values if self.is_waveform else (values / self.unit).exp()

    def from_sound(self, sound: Tensor) -> Tensor:
        """Converts power or samples back to normalised values."""
        values = sound if self.is_waveform else sound.clamp(min=LEAST).log() * self.unit
        return ((values - self.mean.view(-1, 1)) / self.std.view(-1, 1)).float()

    def measure_power(self, sound: Tensor, valid_frames: Tensor) -> Tensor:
        """Measures the mean power of each clip over its valid frames, (clips, 1, 1)."""
        power = sound.square() if self.is_waveform else sound
        total = (power * valid_frames.unsqueeze(1)).sum(dim=(1, 2))
        count = valid_frames.sum(dim=1).clamp(min=1) * sound.shape[1]
        return (total / count).clamp(min=LEAST).view(-1, 1, 1)

    def scale_power(self, sound: Tensor, factor: Tensor) -> Tensor:
        """Multiplies the power of a sound."""
        return sound * (factor.sqrt() if self.is_waveform else factor)
