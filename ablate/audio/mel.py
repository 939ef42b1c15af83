"""Front ends: a waveform becomes frames of log-mel energies, which patches are cut from."""

import functools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from ablate.audio.resampling import resample
from ablate.audio.torchaudio_import import kaldi, torchaudio
from ablate.parts import AS_BEFORE

# measured on the clips to pre-train on, band by band or over all bands; or a mean and a deviation
Normalisation = Literal["bands", "all"] | tuple[float, float]


class AbstractFrontEnd(ABC):
    """Turns sound into frames. Subclasses are frozen keyword-only dataclasses.

    Sound at another sample rate is resample; its mean is removed; silence and a single sample
    give finite frames, at least one.
    """

    @abstractmethod
    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Turns a waveform, float32 (samples,), into float32 (frames, bands)."""

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
        """The time that one frame is computed from; neighbours share what exceeds the hop."""

    @property
    @abstractmethod
    def normalisation(self) -> Normalisation:
        """What is subtracted from frames, and what they are divided by, when they are read."""


@dataclass(frozen=True, kw_only=True)
class LogMel(AbstractFrontEnd):
    """The logarithm of a mel spectrogram, log(power + floor), frames centred on every hop.

    A clip gives a frame for each hop begun: 1.28 s at 10 ms are 128 frames.
    """

    sample_rate: int = 16000
    bands: int = 64
    window_ms: float = 25.0
    hop_ms: float = 10.0
    f_min: float = 50.0  # hertz
    f_max: float = 8000.0  # hertz
    floor: float = 1e-6  # the power of silence: added to all, or with `top_db` the least
    fft_size: int | None = None  # samples; by default the power of two that holds the window
    # Slaney's mel scale and filters of equal area, or those of HTK
    filters: Literal["htk", "slaney"] = field(default="htk", metadata={AS_BEFORE: "htk"})
    # frames in decibels, not in natural logarithms; none lies further below the clip's loudest
    top_db: float | None = field(default=None, metadata={AS_BEFORE: None})
    normalisation: Normalisation = field(default="bands", metadata={AS_BEFORE: "bands"})

    def __post_init__(self) -> None:
        _check(self)
        for name, value in (("floor", self.floor), ("top_db", self.top_db)):
            if value is not None and value <= 0:
                raise ValueError(f"`{name}` must be greater than 0, got {value}")
        if self._fft_size < self._window:
            raise ValueError(
                f"`fft_size` {self.fft_size} is shorter than the window of {self._window} samples; "
                f"give {_power_of_two(self._window)} or leave it out"
            )
        if empty := self._empty_bands():
            raise ValueError(
                f"{empty} of {self.bands} mel bands would hold no frequency of the FFT and stay "
                f"constant; lower `bands`, or raise `fft_size` above {self._fft_size}"
            )

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Turns a waveform, float32 (samples,), into float32 (frames, bands)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        power: Tensor = _mel_spectrogram(self)(samples)
        frames = math.ceil(len(samples) / self._hop)
        power = power[:, :frames]
        if self.top_db is None:
            return (power + self.floor).log_().T.contiguous()
        decibels = 10 * power.clamp(min=self.floor).log10()
        return decibels.clamp(min=float(decibels.max()) - self.top_db).T.contiguous()

    @property
    def hop_seconds(self) -> float:
        """The time from one frame to the next, as rounded to samples."""
        return self._hop / self.sample_rate

    @property
    def window_seconds(self) -> float:
        """The time that one frame is computed from."""
        return self._window / self.sample_rate

    @property
    def _window(self) -> int:
        return round(self.window_ms * self.sample_rate / 1000)

    @property
    def _hop(self) -> int:
        return round(self.hop_ms * self.sample_rate / 1000)

    @property
    def _fft_size(self) -> int:
        return self.fft_size or _power_of_two(self._window)

    def _empty_bands(self) -> int:
        with warnings.catch_warnings():  # torchaudio warns of what is refused here
            warnings.simplefilter("ignore", UserWarning)
            filters: Tensor = torchaudio.functional.melscale_fbanks(
                self._fft_size // 2 + 1,
                self.f_min,
                self.f_max,
                self.bands,
                self.sample_rate,
                mel_scale=self.filters,
            )
        return int((filters.amax(dim=0) == 0).sum())


@dataclass(frozen=True, kw_only=True)
class KaldiFbank(AbstractFrontEnd):
    """Log-mel filter banks as Kaldi computes them, with the settings of AST and AudioMAE.

    Gong et al., "AST: Audio Spectrogram Transformer", Interspeech 2021.
    https://arxiv.org/abs/2104.01778, AudioMAE: https://arxiv.org/abs/2207.06405;
    https://github.com/YuanGongND/ast/blob/master/src/dataloader.py
    Only whole windows give a frame: 10 s at 10 ms are 998, where `LogMel` gives 1000. Many narrow
    bands leave the lowest ones without a frequency of the FFT, and constant: that is how these
    models were trained, so it is not refused.
    """

    sample_rate: int = 16000
    bands: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    f_min: float = 20.0  # hertz
    f_max: float = 8000.0  # hertz
    window: Literal["hanning", "hamming", "povey", "rectangular", "blackman"] = "hanning"
    preemphasis: float = 0.97  # of each sample, what is subtracted from the next
    # of the whole clip: as it is, or the loudest sample 1
    level: Literal["as_is", "peak"] = field(default="as_is", metadata={AS_BEFORE: "as_is"})
    normalisation: Normalisation = field(default="bands", metadata={AS_BEFORE: "bands"})

    def __post_init__(self) -> None:
        _check(self)
        if not 0 <= self.preemphasis <= 1:
            raise ValueError(f"`preemphasis` must lie in [0, 1], got {self.preemphasis}")

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Turns a waveform, float32 (samples,), into float32 (frames, bands)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        if self.level == "peak":  # the loudest sample is 1, but silence stays silent
            samples = samples / samples.abs().max().clamp(min=1e-8)
        window = math.ceil(self.window_ms * self.sample_rate / 1000)
        samples = F.pad(samples, (0, max(0, window - len(samples))))  # kaldi wants one window
        frames: Tensor = kaldi.fbank(
            samples.unsqueeze(0),
            sample_frequency=self.sample_rate,
            num_mel_bins=self.bands,
            frame_length=self.window_ms,
            frame_shift=self.hop_ms,
            low_freq=self.f_min,
            high_freq=self.f_max,
            window_type=self.window,
            preemphasis_coefficient=self.preemphasis,
            dither=0.0,  # random draws come from keyed generators only
            use_energy=False,
            htk_compat=True,
        )
        return frames

    @property
    def hop_seconds(self) -> float:
        """The time from one frame to the next, as Kaldi truncates it to samples."""
        return int(self.hop_ms * self.sample_rate / 1000) / self.sample_rate

    @property
    def window_seconds(self) -> float:
        """The time that one frame is computed from, truncated likewise."""
        return int(self.window_ms * self.sample_rate / 1000) / self.sample_rate


def check_rate_and_normalisation(sample_rate: int, normalisation: Normalisation) -> None:
    """Raises `ValueError` for a rate outside [1000, 384000] Hz, or a deviation not above 0."""
    if not 1000 <= sample_rate <= 384000:
        raise ValueError(f"`sample_rate` must lie in [1000, 384000], got {sample_rate}")
    if isinstance(normalisation, tuple) and normalisation[1] <= 0:
        given = list(normalisation)
        raise ValueError(f"`normalisation` must give a mean and a deviation above 0, got {given}")


def _check(front_end: LogMel | KaldiFbank) -> None:
    """Refuses settings that no spectrogram can have."""
    check_rate_and_normalisation(front_end.sample_rate, front_end.normalisation)
    if front_end.bands < 1:
        raise ValueError(f"`bands` must be 1 or more, got {front_end.bands}")
    shortest = 2000 / front_end.sample_rate  # two samples, in ms
    for name, value in (("window_ms", front_end.window_ms), ("hop_ms", front_end.hop_ms)):
        if not shortest <= value <= 10_000:
            raise ValueError(f"`{name}` must lie in [{shortest:g}, 10000], got {value}")
    nyquist = front_end.sample_rate / 2
    if not 0 <= front_end.f_min < front_end.f_max <= nyquist:
        raise ValueError(
            f"`f_min` {front_end.f_min:g} and `f_max` {front_end.f_max:g} must ascend within "
            f"[0, {nyquist:g}]: half of `sample_rate`"
        )


@functools.lru_cache(maxsize=8)
def _mel_spectrogram(settings: LogMel) -> Callable[[Tensor], Tensor]:
    """Builds the transform once: its filters take longer than a clip does."""
    transform: Callable[[Tensor], Tensor] = torchaudio.transforms.MelSpectrogram(
        settings.sample_rate,
        n_fft=settings._fft_size,
        win_length=settings._window,
        hop_length=settings._hop,
        f_min=settings.f_min,
        f_max=settings.f_max,
        n_mels=settings.bands,
        mel_scale=settings.filters,
        norm="slaney" if settings.filters == "slaney" else None,
        pad_mode="constant",  # the default, reflection, needs more samples than a short clip has
    )
    return transform


def _power_of_two(samples: int) -> int:
    return 1 << (samples - 1).bit_length()
