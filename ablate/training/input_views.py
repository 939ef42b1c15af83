"""Input views: changed copies of a batch that an encoder sees instead of the clips.

`view` is what the context encoder sees, `target_view` what the target is computed from; by default
both see the clips themselves, which a masker always reads. Views are drawn for the global batch,
from the seed and the step: any number of ranks and micro-batches sees the same.

Audio is added in energy: log-mels are converted to power and back, waveforms are added as they are.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ablate.model.masking import check_range
from ablate.training.input_scale import LEAST, InputScale


class AbstractView(ABC):
    """Changes the clips of a batch. Subclasses are frozen keyword-only dataclasses.

    A subclass implements `change`, for example a gain of 6 dB for every clip:

        return scale.from_sound(scale.scale_power(scale.to_sound(mels), torch.tensor(4.0)))
    """

    needs_log_mel: ClassVar[bool] = False  # refuses a waveform
    mixes_clips: ClassVar[bool] = False  # changes a clip by others of its batch

    def __call__(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        """Returns a changed copy of `mels`, in which padding is 0; arguments as in `change`.

        `valid_frames`, `scale` and `rng` are passed on to `change`.
        """
        changed = self.change(mels, valid_frames, scale, rng)
        return torch.where(valid_frames.unsqueeze(1), changed, 0.0)

    @abstractmethod
    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        """Returns a changed copy of the clips of a global batch.

        Args:
            mels: Normalised log-mels or waveforms, float32 (clips, bands, frames), on the CPU.
            valid_frames: Marks the frames that are not padding, bool (clips, frames).
            scale: What the values mean.
            rng: The only source of randomness.

        Returns:
            float32, of the shape of `mels`.
        """

    def check_scale(self, scale: InputScale) -> None:
        """Raises `ValueError` if `scale` is that of a waveform: for views that need a log-mel."""
        if scale.is_waveform:
            name = type(self).__name__
            raise ValueError(f"`{name}` works on log-mels; use a front end that gives one")


@dataclass(frozen=True, kw_only=True)
class Mix(AbstractView):
    """Mixes each clip with another clip of the batch.

    Mixtures of speakers as in WavLM (Chen et al., 2022, https://arxiv.org/abs/2110.13900), of a
    background as in M2D-X (Niizumi et al., 2024, https://arxiv.org/abs/2404.06095), and the greater
    of two log-mels as in SSLAM (Alex et al., ICLR 2025, https://arxiv.org/abs/2506.12222).

    Args:
        snr: Range of the level of a clip over that of the clip mixed into it, in dB.
        share: Greatest share of a clip that is mixed, at a random place; 1 mixes all of it.
        probability: Share of the clips that are mixed.
        how: `sum` adds energies at the drawn level, `max` takes the greater value of the two, at
            their own levels.

    Example:
        view: {type: ablate.training.input_views.Mix, snr: [-5, 5], probability: 0.5}
    """

    mixes_clips: ClassVar[bool] = True

    snr: tuple[float, float] = (-5.0, 5.0)
    share: float = 1.0
    probability: float = 1.0
    how: Literal["sum", "max"] = "sum"

    def __post_init__(self) -> None:
        check_range("snr", self.snr, low=-100, high=100)
        check_range("probability", self.probability, low=0, high=1)
        if not 0 < self.share <= 1:
            raise ValueError(f"`share` must lie in (0, 1]; got {self.share}")

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        clips, _, frames = mels.shape
        shift = int(torch.randint(1, max(2, clips), (1,), generator=rng))
        chosen = torch.rand(clips, generator=rng) < self.probability
        factor = _draw_power_factor(self.snr, clips, rng)
        mixed = _draw_stretch(frames, self.share, clips, rng) & chosen.unsqueeze(1)
        if clips == 1:
            return mels
        other = mels.roll(shift, dims=0)
        mixed = (mixed & valid_frames & valid_frames.roll(shift, dims=0)).unsqueeze(1)
        if self.how == "max":
            return torch.where(mixed, torch.maximum(mels, other), mels)
        sound, added = scale.to_sound(mels), scale.to_sound(other)
        levels = scale.measure_power(sound, valid_frames)
        added_levels = scale.measure_power(added, valid_frames.roll(shift, dims=0))
        added = scale.scale_power(added, factor * levels / added_levels)
        return torch.where(mixed, scale.from_sound(sound + added), mels)


@dataclass(frozen=True, kw_only=True)
class StationaryNoise(AbstractView):
    """Adds stationary noise, whose spectrum is drawn for each clip.

    For encoders that see noise and targets that do not, as in WavJEPA-Nat (Yuksel et al., 2025,
    https://arxiv.org/abs/2509.23238) and Dasheng-denoiser (https://arxiv.org/abs/2505.13843).
    Unlike them: the noise is synthetic, because recordings of noise do not come with this package.

    Args:
        snr: Range of the level of a clip over that of the noise, in dB.
        tilt: Range of the slope of the spectrum of the noise, in dB per band of a log-mel; 0 is
            equal power in every band. Noise of a waveform is white.
        probability: Share of the clips to which noise is added.

    Example:
        view: {type: ablate.training.input_views.StationaryNoise, snr: [-5, 5]}
    """

    part = "ablate.training.input_views.Noise"  # its first name

    snr: tuple[float, float] = (-5.0, 5.0)
    tilt: tuple[float, float] = (-0.3, 0.3)
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_range("snr", self.snr, low=-100, high=100)
        check_range("tilt", self.tilt, low=-10, high=10)
        check_range("probability", self.probability, low=0, high=1)

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        clips, bands, _ = mels.shape
        chosen = torch.rand(clips, 1, 1, generator=rng) < self.probability
        factor = _draw_power_factor(self.snr, clips, rng)
        low, high = self.tilt
        tilt = low + (high - low) * torch.rand(clips, 1, 1, generator=rng, dtype=torch.double)
        white = torch.randn(mels.shape, generator=rng).double()
        noise = white
        if not scale.is_waveform:  # power of a band is exponentially distributed
            noise = white.square() * 10 ** (tilt * torch.arange(bands).view(-1, 1) / 10)
        sound = scale.to_sound(mels)
        level = scale.measure_power(sound, valid_frames) / scale.measure_power(noise, valid_frames)
        noisy = scale.from_sound(sound + scale.scale_power(noise, factor * level))
        return torch.where(chosen, noisy, mels)


@dataclass(frozen=True, kw_only=True)
class Gain(AbstractView):
    """Changes the level of each clip.

    Six decibels up or down are the augmentation of A-JEPA (https://arxiv.org/abs/2311.15830).

    Args:
        decibels: Range of the change.

    Example:
        view: {type: ablate.training.input_views.Gain, decibels: [-6, 6]}
    """

    decibels: tuple[float, float] = (-6.0, 6.0)

    def __post_init__(self) -> None:
        check_range("decibels", self.decibels, low=-100, high=100)

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        low, high = self.decibels
        factor = _draw_power_factor((-high, -low), len(mels), rng)
        return scale.from_sound(scale.scale_power(scale.to_sound(mels), factor))


@dataclass(frozen=True, kw_only=True)
class Reverberation(AbstractView):
    """Lets the power of each band of a log-mel decay exponentially, as in a room.

    The naturalistic scenes of WavJEPA-Nat (https://arxiv.org/abs/2509.23238), without its recorded
    rooms. A waveform is refused: use a log-mel.

    Args:
        t60: Range of the time in which power falls by 60 dB, in seconds.
        level: Range of the power of the reverberation over that of the sound, in dB.

    Example:
        view: {type: ablate.training.input_views.Reverberation, t60: [0.2, 1.0]}
    """

    needs_log_mel: ClassVar[bool] = True

    t60: tuple[float, float] = (0.2, 1.0)
    level: tuple[float, float] = (-12.0, 0.0)

    def __post_init__(self) -> None:
        check_range("level", self.level, low=-100, high=100)
        if not 0 < self.t60[0] <= self.t60[1]:
            raise ValueError(f"`t60` must be above 0, lower end first; got {self.t60}")

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        self.check_scale(scale)
        clips, _, frames = mels.shape
        low, high = self.t60
        seconds = low + (high - low) * torch.rand(clips, 1, generator=rng, dtype=torch.double)
        factor = _draw_power_factor((-self.level[1], -self.level[0]), clips, rng)
        sound = scale.to_sound(mels) * valid_frames.unsqueeze(1)
        delays = torch.arange(1, frames) * scale.hop_seconds
        tail = 10 ** (-6 * delays / seconds)  # (clips, delays)
        tail = factor.flatten(1) * tail / tail.sum(dim=1, keepdim=True).clamp(min=LEAST)
        padding = torch.zeros(clips, 1, dtype=torch.double)
        size = 2 * frames
        spectrum = torch.fft.rfft(torch.cat([padding, tail], dim=1), n=size).unsqueeze(1)
        late = torch.fft.irfft(torch.fft.rfft(sound, n=size) * spectrum, n=size)[..., :frames]
        return scale.from_sound(sound + late.clamp(min=0))


@dataclass(frozen=True, kw_only=True)
class Sequence(AbstractView):
    """Applies several views one after the other.

    Args:
        views: The views, first to last.

    Example:
        view: {type: ablate.training.input_views.Sequence,
          views: [{type: ablate.training.input_views.Mix},
            {type: ablate.training.input_views.Gain}]}
    """

    views: tuple[AbstractView, ...]

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("`views` must have at least one entry; got none")

    def change(
        self, mels: Tensor, valid_frames: Tensor, scale: InputScale, rng: torch.Generator
    ) -> Tensor:
        for view in self.views:
            mels = view(mels, valid_frames, scale, rng)
        return mels


def _draw_power_factor(snr: tuple[float, float], clips: int, rng: torch.Generator) -> Tensor:
    """Draws levels in dB, and returns the power below the sound by as much, (clips, 1, 1)."""
    low, high = snr
    decibels = low + (high - low) * torch.rand(clips, 1, 1, generator=rng, dtype=torch.double)
    return 10 ** (-decibels / 10)


def _draw_stretch(frames: int, share: float, clips: int, rng: torch.Generator) -> Tensor:
    """Marks a stretch of up to `share` of the frames of each clip, bool (clips, frames)."""
    if share == 1:
        return torch.ones(clips, frames, dtype=torch.bool)
    length = (share * frames * torch.rand(clips, 1, generator=rng)).ceil().clamp(min=1)
    start = (torch.rand(clips, 1, generator=rng) * (frames - length + 1)).floor()
    place = torch.arange(frames)
    return (place >= start) & (place < start + length)


Noise = StationaryNoise  # its first name, in studies that name it
