"""Patchifiers cut a spectrogram or a waveform into patches. They have no weights: encoders project.

The grid is row-major over (freq, time): patch `i` is in row `i // grid.time` and column
`i % grid.time`. The values of a patch are row-major over its bands and frames. A waveform is cut as
a spectrogram of one band whose frames are its samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from ablate.model.masking import Grid

Rest = Literal["refuse", "drop"]  # what to do with a tail that no patch reaches
_UNITS = {"freq": "mel bands", "time": "frames"}


class AbstractPatchifier(ABC):
    """Cuts spectrograms of one size into patches. Subclasses are frozen keyword-only dataclasses.

    A subclass implements `size`; `stride` defaults to it. Everything else follows from the two:
    patches are rectangles at regular distances. A patchifier that cuts otherwise, into unequal
    bands or into columns whose frames are not next to each other, overrides `grid`, `cut`, `paste`
    and `valid`, and `pixels` and `covered` where needed; `size` is then the smallest number of
    bands and of frames that `grid` accepts. On every size that `grid` does not refuse:

    - `cut` gives `grid.size` patches of `pixels` values each; a patch that holds fewer is filled up
      with zeros at its end. Patches are in the order of their first values, row by row;
    - `paste` is its inverse up to `covered`, beyond which it gives zeros;
    - a patch is valid if and only if it contains a frame that is not padding;
    - the message for a size that is refused names numbers that would work.

    `ablate.check_patchifier` tests them.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from ablate import AbstractPatchifier
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Columns(AbstractPatchifier):
        ...     bands: int = 64
        ...     frames: int = 4
        ...     @property
        ...     def size(self):
        ...         return self.bands, self.frames
        >>> columns = Columns()
        >>> columns.grid(bands=64, frames=200)
        Grid(freq=1, time=50)
        >>> columns.cut(torch.zeros(2, 64, 200)).shape
        torch.Size([2, 50, 256])
    """

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """The number of bands and of frames in a patch."""

    @property
    def stride(self) -> tuple[int, int]:
        """The distance between the starts of neighbouring patches, in bands and in frames."""
        return self.size

    @property
    def drops_rest(self) -> bool:
        """Whether bands and frames at the end that no patch reaches are dropped; else an error."""
        return False

    @property
    def pixels(self) -> int:
        """The number of values in a patch."""
        return self.size[0] * self.size[1]

    def grid(self, bands: int, frames: int) -> Grid:
        """Returns the grid of a spectrogram.

        Args:
            bands: Number of its mel bands; 1 for a waveform.
            frames: Number of its frames; samples of a waveform.

        Raises:
            ValueError: If patches do not fit; the message names numbers that would.
        """
        (freq, time), (freq_stride, time_stride) = self.size, self.stride
        return Grid(
            _count_patches("freq", bands, freq, freq_stride, drop=self.drops_rest),
            _count_patches("time", frames, time, time_stride, drop=self.drops_rest),
        )

    def cut(self, mels: Tensor) -> Tensor:
        """Cuts `mels`, (batch, bands, frames), into (batch, patches, pixels)."""
        (freq, time), (freq_stride, time_stride) = self.size, self.stride
        pieces = mels.unfold(1, freq, freq_stride).unfold(2, time, time_stride)
        return rearrange(pieces, "batch rows columns freq time -> batch (rows columns) (freq time)")

    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        """Puts `patches` back into a spectrogram; overlaps are averaged.

        Args:
            patches: (batch, patches, pixels).
            bands: Number of mel bands of the spectrogram.
            frames: Number of its frames.

        Returns:
            (batch, bands, frames).
        """
        fold = {"kernel_size": self.size, "stride": self.stride}
        columns = rearrange(patches, "batch patches pixels -> batch pixels patches")
        total = F.fold(columns, (bands, frames), **fold)
        counts = F.fold(columns[:1].new_ones(columns[:1].shape), (bands, frames), **fold)
        return rearrange(total / counts.clamp(min=1), "batch 1 bands frames -> batch bands frames")

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        """Marks the patches that contain a frame which is not padding.

        Args:
            valid_frames: bool (batch, frames).
            bands: Number of mel bands.

        Returns:
            bool (batch, patches).
        """
        columns = F.max_pool1d(valid_frames.float(), self.size[1], self.stride[1]).bool()
        rows = (bands - self.size[0]) // self.stride[0] + 1
        return repeat(columns, "batch columns -> batch (rows columns)", rows=rows)

    def covered(self, bands: int, frames: int) -> tuple[int, int]:
        """Returns how many of `bands` and of `frames`, from the first, patches reach.

        Raises `ValueError` for a size that `grid` refuses.
        """
        grid = self.grid(bands, frames)
        (freq, time), (freq_stride, time_stride) = self.size, self.stride
        return (grid.freq - 1) * freq_stride + freq, (grid.time - 1) * time_stride + time


Patchifier = AbstractPatchifier


@dataclass(frozen=True, kw_only=True)
class Rectangles(AbstractPatchifier):
    """Cuts into rectangles next to each other; `freq` of all bands makes strips of time.

    16x16 is used by AudioMAE (https://arxiv.org/abs/2207.06405) and EAT
    (https://arxiv.org/abs/2401.03497), strips of 64x4 by Dasheng
    (https://arxiv.org/abs/2406.06992) and ATST-Frame (https://github.com/Audio-WestlakeU/audiossl).

    Args:
        freq: Mel bands per patch. A study may write `all`.
        time: Frames per patch. A study may write `all`, or the setting `seconds` instead.

    Example:
        patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
    """

    freq: int = 16
    time: int = 16

    def __post_init__(self) -> None:
        _check_positive(freq=self.freq, time=self.time)

    @property
    def size(self) -> tuple[int, int]:
        return self.freq, self.time

    def grid(self, bands: int, frames: int) -> Grid:
        for name, length, size in (("freq", bands, self.freq), ("time", frames, self.time)):
            if length % size:
                divisors = [str(n) for n in range(1, length + 1) if length % n == 0]
                raise ValueError(
                    f"patches of `{name}` {size} do not divide {length} {_UNITS[name]}; "
                    f"these would: {', '.join(divisors)}"
                )
        return Grid(bands // self.freq, frames // self.time)


@dataclass(frozen=True, kw_only=True)
class Overlapping(AbstractPatchifier):
    """Cuts into rectangles that overlap their neighbours.

    16x16 every 10 is the cut of AST: 12x101 patches of 128x1024, the last 2 bands and 8 frames
    dropped (Gong et al., Interspeech 2021, https://arxiv.org/abs/2104.01778). A hidden patch need
    not be predicted where a visible one overlaps it: keep them apart with `maskers.DeadZone`.

    Args:
        freq: Mel bands per patch. A study may write `all`.
        time: Frames per patch. A study may write `all`, or the setting `seconds` instead.
        freq_stride: Bands from the start of one patch to the next.
        time_stride: Frames from the start of one patch to the next. A study may set
            `stride_seconds` instead.
        rest: Whether bands and frames at the end that no patch reaches are an error (`refuse`) or
            are dropped.

    Example:
        patchifier: {type: ablate.model.patchify.Overlapping, freq_stride: 10, time_stride: 10}
    """

    freq: int = 16
    time: int = 16
    freq_stride: int = 10
    time_stride: int = 10
    rest: Rest = "refuse"

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

    @property
    def drops_rest(self) -> bool:
        return self.rest == "drop"


@dataclass(frozen=True, kw_only=True)
class Windows(AbstractPatchifier):
    """Cuts a waveform into windows, one for each output of a stack of strided convolutions.

    At 16 kHz, 400 samples every 320 are the 50 Hz of wav2vec 2.0
    (https://arxiv.org/abs/2006.11477), 240 every 160 the 100 Hz of WavJEPA
    (https://arxiv.org/abs/2509.23238).

    Args:
        time: Samples per window. A study may set `seconds` instead.
        time_stride: Samples from the start of one window to the next. A study may set
            `stride_seconds` instead.
        rest: Whether samples at the end that no window reaches are an error (`refuse`) or are
            dropped, as a convolution does.

    Example:
        patchifier: {type: ablate.model.patchify.Windows, time: 400, time_stride: 320}
    """

    time: int = 400
    time_stride: int = 320
    rest: Rest = "drop"

    def __post_init__(self) -> None:
        _check_positive(time=self.time)
        _check_stride("time_stride", self.time_stride, self.time)

    @property
    def size(self) -> tuple[int, int]:
        return 1, self.time

    @property
    def stride(self) -> tuple[int, int]:
        return 1, self.time_stride

    @property
    def drops_rest(self) -> bool:
        return self.rest == "drop"

    def grid(self, bands: int, frames: int) -> Grid:
        if bands != 1:
            raise ValueError(
                f"windows are cut from a waveform, and `mel` gives {bands} bands, not 1; let it be "
                "an `ablate.audio.waveform.Waveform`, or cut `ablate.model.patchify.Rectangles`"
            )
        return super().grid(bands, frames)


def _check_positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1; got {value}")


def _check_stride(name: str, stride: int, size: int) -> None:
    """Refuses a stride that would leave holes between patches."""
    if not 1 <= stride <= size:
        raise ValueError(f"`{name}` must lie in [1, {size}], the patch's size; got {stride}")


def _count_patches(name: str, length: int, size: int, stride: int, *, drop: bool) -> int:
    """Counts the patches along an axis."""
    unit, surplus = _UNITS[name], (length - size) % stride
    if length < size:
        enough = f"{size} or {size + stride} {unit}"
        raise ValueError(
            f"a patch of `{name}` {size} does not fit into {length} {unit}; give {enough}"
        )
    if surplus and not drop:
        raise ValueError(
            f"patches of `{name}` {size} every {stride} leave the last {surplus} of {length} "
            f"{unit} over; give {length - surplus} or {length - surplus + stride} {unit}, or set "
            "`rest: drop`"
        )
    return (length - size) // stride + 1
