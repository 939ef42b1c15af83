"""Front ends that convert a waveform to frames of log-mel energies."""

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from ablate.audio.front_end import AbstractFrontEnd, Normalisation, check_rate_and_normalisation
from ablate.audio.resampling import resample
from ablate.audio.streaming import convert_windows, measure_levels, normalise_rate, scale
from ablate.audio.torchaudio_import import kaldi, torchaudio
from ablate.audio.waveform_stream import WaveformStream
from ablate.parts import AS_BEFORE


@dataclass(frozen=True, kw_only=True)
class LogMel(AbstractFrontEnd):
    """Log-mel spectrogram, log(power + floor), with frames centred on every hop.

    A clip has ceil(samples / hop) frames: 128 for 1.28 s at a hop of 10 ms.

    Args:
        sample_rate: Sample rate in Hz; clips with another one are resampled.
        bands: Number of mel bands.
        window_ms: Length of the analysis window in ms.
        hop_ms: Time from one frame to the next in ms.
        f_min: Lower edge of the lowest band in Hz.
        f_max: Upper edge of the highest band in Hz.
        floor: Added to the power before the logarithm; with `top_db`, the least power instead.
        fft_size: Length of the FFT in samples. If unset, the least power of two that holds a
            window.
        filters: Mel scale and filters: those of HTK, or those of Slaney, which have equal areas.
        top_db: If set, values are in decibels instead of natural logarithms, at most this far below
            the clip's maximum.
        normalisation: How frames are normalised: with the mean and standard deviation of the
            pre-training clips in each band (`bands`) or over all bands (`all`), or with a fixed
            (mean, deviation).

    Raises:
        ValueError: for settings out of range, an `fft_size` shorter than the window, and bands
            without any FFT bin.

    Example:
        >>> import torch
        >>> LogMel(bands=64)(torch.zeros(16000), 16000).shape
        torch.Size([100, 64])
    """

    sample_rate: int = 16000
    bands: int = 64
    window_ms: float = 25.0
    hop_ms: float = 10.0
    f_min: float = 50.0
    f_max: float = 8000.0
    floor: float = 1e-6
    fft_size: int | None = None
    filters: Literal["htk", "slaney"] = field(default="htk", metadata={AS_BEFORE: "htk"})
    top_db: float | None = field(default=None, metadata={AS_BEFORE: None})
    normalisation: Normalisation = field(default="bands", metadata={AS_BEFORE: "bands"})

    def __post_init__(self) -> None:
        _check_settings(self)
        for name, value in (("floor", self.floor), ("top_db", self.top_db)):
            if value is not None and value <= 0:
                raise ValueError(f"`{name}` must be greater than 0, got {value}")
        if self._fft_size < self._window:
            raise ValueError(
                f"`fft_size` {self.fft_size} is shorter than the window of {self._window} samples; "
                f"give {_power_of_two(self._window)} or leave it out"
            )
        if empty := self._count_empty_bands():
            raise ValueError(
                f"{empty} of {self.bands} mel bands would contain no FFT bin and be "
                f"constant; lower `bands`, or raise `fft_size` above {self._fft_size}"
            )

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Converts a waveform, float32 (samples,), to frames, float32 (frames, bands)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        frames = self._compute_levels(samples)
        if self.top_db is None:
            return frames
        return frames.clamp(min=float(frames.max()) - self.top_db)

    def convert_stream(self, stream: WaveformStream) -> Iterator[Tensor]:
        """Converts a waveform of any length to the same frames, piece by piece."""
        levels = functools.partial(
            convert_windows,
            normalise_rate(stream, self.sample_rate),
            window=self._fft_size,
            hop=self._hop,
            before=self._fft_size // 2,
            convert=self._compute_levels,
            count=lambda samples: math.ceil(samples / self._hop),
        )
        if self.top_db is None:
            yield from levels()
        else:
            lowest = max(float(frames.max()) for frames in levels()) - self.top_db
            yield from (frames.clamp(min=lowest) for frames in levels())

    def _compute_levels(self, samples: Tensor) -> Tensor:
        """Computes frames of samples at the rate of the front end, before `top_db`."""
        power: Tensor = _mel_spectrogram(self)(samples)
        power = power[:, : math.ceil(len(samples) / self._hop)]
        if self.top_db is None:
            return (power + self.floor).log_().T.contiguous()
        return (10 * power.clamp(min=self.floor).log10()).T.contiguous()

    @property
    def hop_seconds(self) -> float:
        """The time from one frame to the next, rounded to samples."""
        return self._hop / self.sample_rate

    @property
    def window_seconds(self) -> float:
        """The time span that one frame is computed from, rounded to samples."""
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

    def _count_empty_bands(self) -> int:
        with warnings.catch_warnings():  # torchaudio only warns about empty bands
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
    Frames are computed from complete windows only: 998 for 10 s at a hop of 10 ms, where `LogMel`
    has 1000. With many narrow bands the lowest ones contain no FFT bin and are constant; this is
    allowed because these models were trained that way.

    Args:
        sample_rate: Sample rate in Hz; clips with another one are resampled.
        bands: Number of mel bands.
        window_ms: Length of the analysis window in ms.
        hop_ms: Time from one frame to the next in ms.
        f_min: Lower edge of the lowest band in Hz.
        f_max: Upper edge of the highest band in Hz.
        window: Shape of the analysis window.
        preemphasis: Share of each sample that is subtracted from the next one.
        level: Whether a clip keeps its level or is scaled to a peak of 1.
        normalisation: How frames are normalised: with the mean and standard deviation of the
            pre-training clips in each band (`bands`) or over all bands (`all`), or with a fixed
            (mean, deviation).

    Raises:
        ValueError: for settings out of range.

    Example:
        mel: {type: ablate.audio.mel.KaldiFbank, bands: 128, hop_ms: 10}
    """

    sample_rate: int = 16000
    bands: int = 128
    window_ms: float = 25.0
    hop_ms: float = 10.0
    f_min: float = 20.0
    f_max: float = 8000.0
    window: Literal["hanning", "hamming", "povey", "rectangular", "blackman"] = "hanning"
    preemphasis: float = 0.97
    level: Literal["as_is", "peak"] = field(default="as_is", metadata={AS_BEFORE: "as_is"})
    normalisation: Normalisation = field(default="bands", metadata={AS_BEFORE: "bands"})

    def __post_init__(self) -> None:
        _check_settings(self)
        if not 0 <= self.preemphasis <= 1:
            raise ValueError(f"`preemphasis` must lie in [0, 1], got {self.preemphasis}")

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Converts a waveform, float32 (samples,), to frames, float32 (frames, bands)."""
        samples = resample(waveform - waveform.mean(), sample_rate, self.sample_rate)
        if self.level == "peak":  # the clamp keeps silence silent
            samples = samples / samples.abs().max().clamp(min=1e-8)
        window = math.ceil(self.window_ms * self.sample_rate / 1000)
        samples = F.pad(
            samples, (0, max(0, window - len(samples)))
        )  # kaldi needs at least one window
        return self._compute_banks(samples)

    def convert_stream(self, stream: WaveformStream) -> Iterator[Tensor]:
        """Converts a waveform of any length to the same frames, piece by piece."""
        sound = normalise_rate(stream, self.sample_rate)
        if self.level == "peak":
            sound = scale(sound, 1 / max(measure_levels(sound).peak, 1e-8))
        window, hop = (
            int(milliseconds * self.sample_rate * 0.001)
            for milliseconds in (self.window_ms, self.hop_ms)
        )
        return convert_windows(
            sound,
            window=window,
            hop=hop,
            before=0,
            convert=self._compute_banks,
            count=lambda samples: 1 + (samples - window) // hop,
        )

    def _compute_banks(self, samples: Tensor) -> Tensor:
        """Computes frames of samples at the rate and level of the front end."""
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
        """The time span that one frame is computed from, as Kaldi truncates it to samples."""
        return int(self.window_ms * self.sample_rate / 1000) / self.sample_rate


def _check_settings(front_end: LogMel | KaldiFbank) -> None:
    """Raises `ValueError` for settings out of range."""
    check_rate_and_normalisation(front_end.sample_rate, front_end.normalisation)
    if front_end.bands < 1:
        raise ValueError(f"`bands` must be 1 or more, got {front_end.bands}")
    minimum = 2000 / front_end.sample_rate  # two samples, in ms
    for name, value in (("window_ms", front_end.window_ms), ("hop_ms", front_end.hop_ms)):
        if not minimum <= value <= 10_000:
            raise ValueError(f"`{name}` must lie in [{minimum:g}, 10000], got {value}")
    nyquist = front_end.sample_rate / 2
    if not 0 <= front_end.f_min < front_end.f_max <= nyquist:
        raise ValueError(
            f"`f_min` {front_end.f_min:g} and `f_max` {front_end.f_max:g} must satisfy "
            f"0 <= `f_min` < `f_max` <= {nyquist:g}, which is half of `sample_rate`"
        )


@functools.lru_cache(maxsize=8)
def _mel_spectrogram(settings: LogMel) -> Callable[[Tensor], Tensor]:
    """Builds the transform; cached, because its filters take longer than transforming a clip."""
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
        pad_mode="constant",  # the default (reflection) fails for short clips
    )
    return transform


def _power_of_two(samples: int) -> int:
    return 1 << (samples - 1).bit_length()
