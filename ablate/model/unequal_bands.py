"""A patchifier whose rows are of unequal height, as fine as each part of the spectrum needs."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from ablate.core.device import on_device
from ablate.model.masking import Grid
from ablate.model.patchify import AbstractPatchifier


@dataclass(frozen=True, kw_only=True)
class UnequalBands(AbstractPatchifier):
    """Cuts into rectangles next to each other, whose rows have heights of their own.

    Bands of unequal width are those of band-split models (Luo and Yu, "Music Source Separation with
    Band-split RNN", 2022, https://arxiv.org/abs/2209.15174). An encoder has one projection for
    patches of all heights. With `values: resize` patches are brought to the highest such that this
    is the resizing of FlexiViT (Beyer et al., CVPR 2023, https://arxiv.org/abs/2212.08013): the
    pseudo-inverse of linear interpolation, applied to the patch instead of the weights, which gives
    the same tokens from a linear stem. With `values: pad` zeros are put after the last band, and
    heights share weights only where they have bands.

    Pictures of masks draw all rows equally high.

    Args:
        freq: Mel bands of each row, from low to high; their sum must be the bands of `mel`.
        time: Frames per patch. A study may write `all`, or the setting `seconds` instead.
        values: Whether patches are resized to the highest row, or filled up with zeros.

    Example:
        patchifier: {type: ablate.model.unequal_bands.UnequalBands, freq: [8, 8, 16, 32], time: 16}
    """

    freq: tuple[int, ...] = (8, 8, 16, 32)
    time: int = 16
    values: Literal["resize", "pad"] = "resize"

    def __post_init__(self) -> None:
        if not self.freq or min(self.freq) < 1:
            raise ValueError(f"`freq` must list heights of at least 1; got {list(self.freq)}")
        if self.time < 1:
            raise ValueError(f"`time` must be at least 1; got {self.time}")

    @property
    def size(self) -> tuple[int, int]:
        return sum(self.freq), self.time

    @property
    def pixels(self) -> int:
        return max(self.freq) * self.time

    def grid(self, bands: int, frames: int) -> Grid:
        if bands != sum(self.freq):
            raise ValueError(
                f"`freq` {list(self.freq)} needs {sum(self.freq)} mel bands, and `mel` gives "
                f"{bands}; change either"
            )
        if frames % self.time:
            divisors = [str(number) for number in range(1, frames + 1) if frames % number == 0]
            raise ValueError(
                f"patches of `time` {self.time} do not divide {frames} frames; these would: "
                f"{', '.join(divisors)}"
            )
        return Grid(len(self.freq), frames // self.time)

    def cut(self, mels: Tensor) -> Tensor:
        rows = []
        for row, height in zip(_split(mels, self.freq), self.freq, strict=True):
            pattern = "batch freq (columns time) -> batch columns freq time"
            patches = rearrange(row, pattern, time=self.time)
            if self.values == "pad":
                patches = F.pad(patches, (0, 0, 0, max(self.freq) - height))
            else:
                patches = _apply(get_resizing(height, max(self.freq))[1], patches)
            rows.append(patches.flatten(2))
        return torch.cat(rows, dim=1)

    def paste(self, patches: Tensor, bands: int, frames: int) -> Tensor:
        columns = (self.grid(bands, frames).time,) * len(self.freq)
        rows = []
        for row, height in zip(_split(patches, columns), self.freq, strict=True):
            pattern = "batch columns (freq time) -> batch columns freq time"
            cells = rearrange(row, pattern, time=self.time)
            if self.values == "pad":
                cells = cells[:, :, :height]
            else:
                cells = _apply(get_resizing(height, max(self.freq))[0], cells)
            rows.append(rearrange(cells, "batch columns freq time -> batch freq (columns time)"))
        return torch.cat(rows, dim=1)

    def valid(self, valid_frames: Tensor, bands: int) -> Tensor:
        columns = F.max_pool1d(valid_frames.float(), self.time).bool()
        return repeat(columns, "batch columns -> batch (rows columns)", rows=len(self.freq))

    def covered(self, bands: int, frames: int) -> tuple[int, int]:
        self.grid(bands, frames)
        return bands, frames


@functools.cache
def get_resizing(height: int, highest: int) -> tuple[Tensor, Tensor]:
    """Returns what shrinks `highest` bands to `height` by linear interpolation, and its inverse.

    float32 (height, highest), and its pseudo-inverse, (highest, height).
    """
    identity = torch.eye(highest, dtype=torch.double)
    shrink = F.interpolate(
        identity[None, None], (height, highest), mode="bilinear", antialias=True
    )[0, 0]
    return shrink.float(), torch.linalg.pinv(shrink).float()


def _split(values: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Splits (batch, rows, ...) into parts of some rows each."""
    return torch.split(values, list(sizes), dim=1)


def _apply(matrix: Tensor, patches: Tensor) -> Tensor:
    """Multiplies the bands of patches, (batch, columns, freq, time), in float32."""
    with torch.autocast(patches.device.type, enabled=False):
        return on_device(matrix, patches.device) @ patches.float()
