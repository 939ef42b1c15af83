"""A patchifier cuts sound into patches. It has no weights; the encoder projects.

The grid is row-major over (freq, time): patch `i` lies at (`i // grid.time`, `i % grid.time`), and
the values of a patch are row-major over its bands and frames. A waveform is cut as a mel of one
band, whose frames are its samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from einops import rearrange, reduce, repeat
from torch import Tensor
from torch.nn import functional as F

from ablate.model.masking import Grid

Rest = Literal["refuse", "drop"]  # what to do with a tail that no patch reaches
_UNITS = {"freq": "mel bands", "time": "frames"}


class AbstractPatchifier(ABC):
    """Cuts mels of one size into patches. Subclasses are frozen keyword-only dataclasses.

    The promises to keep, on every size that is not refused:

    - `cut` gives `grid.size` patches of `pixels` values each, and `paste` puts them back: values
      are as they were up to `covered`, and zero past it, where no patch was cut;
    - a patch is valid exactly where it holds a real frame;
    - a size that is refused is refused with the numbers that would do.
    """

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """How many bands and frames a patch spans."""

    @property
    @abstractmethod
    def stride(self) -> tuple[int, int]:
        """How many bands and frames lie between the beginnings of neighbouring patches."""

    @abstractmethod
    def grid(self, bands: int, frames: int) -> Grid:
        """Returns the grid of a mel of this size; raises `ValueError` where patches do not fit."""

    @abstractmethod
    def cut(self, mels: Tensor) -> Tensor:
        """Cuts (batch, bands, frames) into (batch, patches, pixels)."""

    @abstractmethod
    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        """Puts (batch, patches, pixels) back to (batch, bands, frames); overlaps are averaged."""

    @abstractmethod
    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        """Marks the patches that hold a real frame: bool (batch, frames) to (batch, patches)."""

    @property
    def pixels(self) -> int:
        """How many values one patch holds."""
        return self.size[0] * self.size[1]

    def covered(self, bands: int, frames: int) -> tuple[int, int]:
        """How many bands and frames, from the first on, patches reach; the rest is dropped.

        Raises `ValueError` for a size that `grid` refuses.
        """
        grid = self.grid(bands, frames)
        (freq, time), (freq_stride, time_stride) = self.size, self.stride
        return (grid.freq - 1) * freq_stride + freq, (grid.time - 1) * time_stride + time


@dataclass(frozen=True, kw_only=True)
class Rectangles(AbstractPatchifier):
    """Cuts into rectangles side by side; `freq` of all bands makes strips of time.

    Squares of 16x16 are those of AudioMAE (https://arxiv.org/abs/2207.06405) and EAT
    (https://arxiv.org/abs/2401.03497), strips of 64x4 those of Dasheng
    (https://arxiv.org/abs/2406.06992) and ATST-Frame (https://github.com/Audio-WestlakeU/audiossl).
    """

    freq: int = 16  # mel bands; a study may write `freq: all`
    time: int = 16  # frames; a study may write `seconds: 0.16` instead, or `time: all`

    def __post_init__(self) -> None:
        _check_positive(freq=self.freq, time=self.time)

    @property
    def size(self) -> tuple[int, int]:
        return self.freq, self.time

    @property
    def stride(self) -> tuple[int, int]:
        return self.freq, self.time

    def grid(self, bands: int, frames: int) -> Grid:
        for name, whole, part in (("freq", bands, self.freq), ("time", frames, self.time)):
            if whole % part:
                divisors = [str(n) for n in range(1, whole + 1) if whole % n == 0]
                raise ValueError(
                    f"patches of `{name}` {part} do not divide {whole} {_UNITS[name]}; "
                    f"these would: {', '.join(divisors)}"
                )
        return Grid(bands // self.freq, frames // self.time)

    def cut(self, mels: Tensor) -> Tensor:
        return rearrange(
            mels,
            "batch (rows freq) (columns time) -> batch (rows columns) (freq time)",
            freq=self.freq,
            time=self.time,
        )

    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        return rearrange(
            patches,
            "batch (rows columns) (freq time) -> batch (rows freq) (columns time)",
            rows=bands // self.freq,
            freq=self.freq,
        )

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        columns = reduce(
            valid_frames.byte(), "batch (columns time) -> batch columns", "max", time=self.time
        )
        rows = bands // self.freq
        return repeat(columns.bool(), "batch columns -> batch (rows columns)", rows=rows)


@dataclass(frozen=True, kw_only=True)
class Overlapping(AbstractPatchifier):
    """Cuts into rectangles that begin every `stride`, and so hold parts of their neighbours.

    16x16 every 10 is AST's cut: 12x101 patches of 128x1024, the last 2 bands and 8 frames dropped
    (Gong et al., Interspeech 2021, https://arxiv.org/abs/2104.01778). What a visible patch shares
    with a hidden one need not be predicted: keep them apart with `maskers.DeadZone`.
    """

    freq: int = 16  # mel bands
    time: int = 16  # frames; or `seconds`
    freq_stride: int = 10  # bands
    time_stride: int = 10  # frames; or `stride_seconds`
    rest: Rest = "refuse"  # bands and frames at the end that no patch reaches

    def __post_init__(self) -> None:
        _check_positive(freq=self.freq, time=self.time)
        _check_stride("freq_stride", self.freq_stride, self.freq)
        _check_stride("time_stride", self.time_stride, self.time)

    @property
    def size(self) -> tuple[int, int]:
        return self.freq, self.time

    @property
    def stride(self) -> tuple[int, int]:
        return self.freq_stride, self.time_stride

    def grid(self, bands: int, frames: int) -> Grid:
        return Grid(
            _places("freq", bands, self.freq, self.freq_stride, self.rest),
            _places("time", frames, self.time, self.time_stride, self.rest),
        )

    def cut(self, mels: Tensor) -> Tensor:
        return _unfold(mels, self)

    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        return _fold(patches, bands, frames, self)

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        columns = _reached(valid_frames, self.time, self.time_stride)
        rows = _places("freq", bands, self.freq, self.freq_stride, self.rest)
        return repeat(columns, "batch columns -> batch (rows columns)", rows=rows)


@dataclass(frozen=True, kw_only=True)
class Windows(AbstractPatchifier):
    """Cuts a waveform into windows, one for each output of a stack of strided convolutions.

    400 samples every 320 are the 50 Hz of wav2vec 2.0 (https://arxiv.org/abs/2006.11477), 240
    every 160 the 100 Hz of WavJEPA (https://arxiv.org/abs/2509.23238), at 16 kHz.
    """

    time: int = 400  # samples; or `seconds`
    time_stride: int = 320  # samples; or `stride_seconds`
    rest: Rest = "drop"  # samples at the end that no window reaches, as a convolution does

    def __post_init__(self) -> None:
        _check_positive(time=self.time)
        _check_stride("time_stride", self.time_stride, self.time)

    @property
    def size(self) -> tuple[int, int]:
        return 1, self.time

    @property
    def stride(self) -> tuple[int, int]:
        return 1, self.time_stride

    def grid(self, bands: int, frames: int) -> Grid:
        if bands != 1:
            raise ValueError(
                f"windows are cut from a waveform, and `mel` gives {bands} bands, not 1; let it be "
                "an `ablate.audio.waveform.Waveform`, or cut `ablate.model.patchify.Rectangles`"
            )
        return Grid(1, _places("time", frames, self.time, self.time_stride, self.rest))

    def cut(self, mels: Tensor) -> Tensor:
        return _unfold(mels, self)

    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        return _fold(patches, bands, frames, self)

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        return _reached(valid_frames, self.time, self.time_stride)


def _check_positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1; got {value}")


def _check_stride(name: str, stride: int, size: int) -> None:
    """Refuses a stride that would leave holes between patches."""
    if not 1 <= stride <= size:
        raise ValueError(f"`{name}` must lie in [1, {size}], the patch's size; got {stride}")


def _places(name: str, whole: int, size: int, stride: int, rest: Rest) -> int:
    """Counts the patches along an axis."""
    unit, over = _UNITS[name], (whole - size) % stride
    if whole < size:
        wide = f"{size} or {size + stride} {unit}"
        raise ValueError(
            f"a patch of `{name}` {size} does not fit into {whole} {unit}; give {wide}"
        )
    if over and rest == "refuse":
        raise ValueError(
            f"patches of `{name}` {size} every {stride} leave the last {over} of {whole} {unit} "
            f"over; give {whole - over} or {whole - over + stride} {unit}, or set `rest: drop`"
        )
    return (whole - size) // stride + 1


def _unfold(mels: Tensor, patchifier: AbstractPatchifier) -> Tensor:
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    pieces = mels.unfold(1, freq, freq_stride).unfold(2, time, time_stride)
    return rearrange(pieces, "batch rows columns freq time -> batch (rows columns) (freq time)")


def _fold(patches: Tensor, bands: int, frames: int, patchifier: AbstractPatchifier) -> Tensor:
    where = {"kernel_size": patchifier.size, "stride": patchifier.stride}
    columns = rearrange(patches, "batch patches pixels -> batch pixels patches")
    total = F.fold(columns, (bands, frames), **where)
    holders = F.fold(columns[:1].new_ones(columns[:1].shape), (bands, frames), **where)
    return rearrange(total / holders.clamp(min=1), "batch 1 bands frames -> batch bands frames")


def _reached(valid_frames: Tensor, size: int, stride: int) -> Tensor:
    """Marks the windows that hold a real frame, bool (batch, windows)."""
    return F.max_pool1d(valid_frames.float(), size, stride).bool()
