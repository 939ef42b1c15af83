"""A patchifier cuts a log-mel into patches. It has no weights; the encoder projects.

The grid is row-major over (freq, time): patch `i` lies at (`i // grid.time`, `i % grid.time`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from einops import rearrange, reduce, repeat
from torch import Tensor

from ablate.model.masking import Grid


class AbstractPatchifier(ABC):
    """Cuts mels of one size into patches. Subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def grid(self, bands: int, frames: int) -> Grid:
        """Returns the grid of a mel of this size; raises `ValueError` where it does not divide."""

    @property
    @abstractmethod
    def pixels(self) -> int:
        """How many mel values one patch holds."""

    @abstractmethod
    def cut(self, mels: Tensor) -> Tensor:
        """Cuts (batch, freq, time) into (batch, patches, pixels)."""

    @abstractmethod
    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        """Marks the patches that hold a real frame: bool (batch, frames) to (batch, patches)."""


@dataclass(frozen=True, kw_only=True)
class Rectangles(AbstractPatchifier):
    """Cuts into rectangles side by side; `freq` of all bands makes strips of time.

    Squares of 16x16 are those of AST and AudioMAE (https://arxiv.org/abs/2207.06405), strips of
    64x4 those of Dasheng (https://arxiv.org/abs/2406.06992) and ATST-Frame.
    """

    freq: int = 16  # mel bands
    time: int = 16  # frames

    def __post_init__(self) -> None:
        for name, value in (("freq", self.freq), ("time", self.time)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1; got {value}")

    @property
    def pixels(self) -> int:
        return self.freq * self.time

    def grid(self, bands: int, frames: int) -> Grid:
        for name, whole, part in (("freq", bands, self.freq), ("time", frames, self.time)):
            if whole % part:
                axis = "mel bands" if name == "freq" else "frames"
                divisors = [str(n) for n in range(1, whole + 1) if whole % n == 0]
                raise ValueError(
                    f"patches of `{name}` {part} do not divide {whole} {axis}; "
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

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        columns = reduce(
            valid_frames.byte(), "batch (columns time) -> batch columns", "max", time=self.time
        )
        rows = bands // self.freq
        return repeat(columns.bool(), "batch columns -> batch (rows columns)", rows=rows)
