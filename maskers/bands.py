"""Masking of one stretch of time, or of one band of frequency.

`SpecAugment`: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition", Interspeech 2019, sec. 2. https://arxiv.org/abs/1904.08779
Unlike it: widths are shares of the clip, and a band is at least one patch wide.

`Causal`: predicts the future from the past, as van den Oord et al., "Representation Learning with
Contrastive Predictive Coding", 2018. https://arxiv.org/abs/1807.03748
Unlike it: one cut per clip, and the future as one target.

`Infill` and `BandSplit` are our own controls: a hole in time with sound on both sides, and one half
of the spectrum from the other.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import draw_uniform, round_share
from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Mask,
    Promises,
    UnsupportedGridError,
    check_range,
)
from maskers.geometry import fill_columns, fill_empty, fill_rows, mark_interval, show_rest
from maskers.sampling import check_ratio

BAND_ENDS = "a band has fewer positions at the ends of its axis than in the middle"


@dataclass(frozen=True, kw_only=True)
class SpecAugment(AbstractMasker):
    """Hides a few bands of time and a few of frequency; each is a target block.

    A grid of one row and one column is refused, and one that has a single line on the only axis
    with bands.

    Args:
        time_bands: Number of bands of time, which may overlap.
        freq_bands: Number of bands of frequency, which may overlap.
        time_width: Greatest width of a band, as a share of the clip.
        freq_width: Greatest height of a band, as a share of the rows.

    Example:
        masker: {type: maskers.SpecAugment, time_bands: 2, freq_bands: 2}
    """

    time_bands: int = 2
    freq_bands: int = 2
    time_width: float = 0.1
    freq_width: float = 0.2

    def __post_init__(self) -> None:
        if min(self.time_bands, self.freq_bands) < 0 or self.time_bands + self.freq_bands == 0:
            raise ValueError(
                "`time_bands` and `freq_bands` must give at least one band; "
                f"got {self.time_bands} and {self.freq_bands}"
            )
        check_range("time_width", self.time_width, low=0, high=1)
        check_range("freq_width", self.freq_width, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return Promises(context=(0.0, 1.0), uneven=BAND_ENDS)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        if (grid.freq == 1 or not self.freq_bands) and (grid.time == 1 or not self.time_bands):
            raise UnsupportedGridError(
                f"a band would hide the whole of {grid}; hide the other axis"
            )
        columns = clips.num_columns.unsqueeze(1)
        times = _draw_bands(
            grid.time, (batch, self.time_bands), self.time_width, lines=columns, generator=generator
        )
        rows = _draw_bands(
            grid.freq,
            (batch, self.freq_bands),
            self.freq_width,
            lines=torch.full_like(columns, grid.freq),
            generator=generator,
        )
        bands = torch.cat([fill_columns(grid, times), fill_rows(grid, rows)], dim=1)
        return show_rest(bands & valid.unsqueeze(1), valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Causal(AbstractMasker):
    """Shows the beginning of a clip and hides what follows.

    Args:
        context: Share of a clip's columns shown. From a pair, it is drawn uniformly.
        horizon: Share of a clip's columns to predict. If unset, everything that follows.
        gap: Columns between context and target that are neither; fewer if no target would be left.

    Example:
        masker: {type: maskers.Causal, context: [0.3, 0.8], horizon: 0.2}
    """

    context: float | tuple[float, float] = (0.3, 0.8)
    horizon: float | None = None
    gap: int = 0

    def __post_init__(self) -> None:
        low, high = check_range("context", self.context, low=0, high=1)
        if low == 0 or high == 1:
            raise ValueError(
                f"`context` {self.context} shows nothing or everything; stay inside (0, 1)"
            )
        check_range("horizon", 1.0 if self.horizon is None else self.horizon, low=0, high=1)
        if self.gap < 0:
            raise ValueError(f"`gap` is a number of columns; got {self.gap}")

    @property
    def promises(self) -> Promises:
        return Promises(
            context=check_range("context", self.context, low=0, high=1),
            uneven="the beginning is shown and the end is hidden",
            unvisited="the first column is never hidden and the last never shown",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.num_columns
        share = draw_uniform((batch,), *self.promises.context, generator)
        visible = round_share(columns, share)
        first = (visible + self.gap).minimum(columns - 1).maximum(visible)
        hidden = columns - first
        if self.horizon is not None:
            hidden = hidden.minimum((columns * self.horizon).round().long().clamp(min=1))
        context = fill_columns(grid, mark_interval(grid.time, torch.zeros_like(visible), visible))
        targets = fill_columns(grid, mark_interval(grid.time, first, hidden)).unsqueeze(1)
        return fill_empty(context, targets, valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Infill(AbstractMasker):
    """Hides one stretch of time at all frequencies, and shows what is before and after it.

    Args:
        ratio: Share of a clip's columns hidden. From a pair, it is drawn uniformly.

    Example:
        masker: {type: maskers.Infill, ratio: [0.2, 0.5]}
    """

    ratio: float | tuple[float, float] = (0.2, 0.5)

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        low, high = check_ratio(self.ratio)
        middle = "a stretch of half the clip or more always covers the middle"
        return Promises(
            context=(1 - high, 1 - low), uneven=BAND_ENDS, unvisited=middle if low >= 0.5 else ""
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.num_columns
        width = round_share(columns, draw_uniform((batch,), *check_ratio(self.ratio), generator))
        start = (torch.rand(batch, generator=generator) * (columns - width + 1)).floor()
        hidden = fill_columns(grid, mark_interval(grid.time, start, width)).unsqueeze(1)
        return show_rest(hidden, valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class BandSplit(AbstractMasker):
    """Splits the spectrum in two bands: one is the context, the other the target.

    A grid of one row is refused.

    Args:
        context: The band that is shown; `random` chooses one for each sample.
        ratio: Share of the rows hidden. From a pair, it is drawn uniformly.

    Example:
        masker: {type: maskers.BandSplit, context: low, ratio: 0.5}
    """

    context: Literal["low", "high", "random"] = "low"
    ratio: float | tuple[float, float] = 0.5

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        low, high = check_ratio(self.ratio)
        ends = "one end of the spectrum is always shown and the other always hidden"
        middle = "the middle is always on the wider side of the cut"
        unvisited = ends if self.context != "random" else "" if low <= 0.5 <= high else middle
        shares = [
            (max(int(rows * (1 - high)), 1) / rows, min(int(rows * (1 - low)) + 1, rows - 1) / rows)
            for rows in range(2, 65)
        ]
        return Promises(
            context=(min(least for least, _ in shares), max(most for _, most in shares)),
            uneven=unvisited,
            unvisited=unvisited,
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        if grid.freq == 1:
            raise UnsupportedGridError(f"{grid} has one row, which cannot be split by frequency")
        hidden = draw_uniform((batch,), *check_ratio(self.ratio), generator) * grid.freq
        rounding = torch.rand(batch, generator=generator)  # a fractional row is shown as often
        visible = (grid.freq - hidden + rounding).floor().clamp(1, grid.freq - 1)
        high = torch.rand(batch, generator=generator) < 0.5
        if self.context != "random":
            high = torch.full((batch,), self.context == "high")
        start = torch.where(high, grid.freq - visible, 0)
        context = fill_rows(grid, mark_interval(grid.freq, start, visible)) & valid
        return Mask(context, (valid & ~context).unsqueeze(1))


def _draw_bands(
    size: int,
    shape: tuple[int, int],
    widest: float,
    *,
    lines: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draws bands on an axis with `lines` (batch, 1) valid lines, bool (*shape, size)."""
    limit = (lines * widest).round().clamp(min=1).minimum(lines - 1)
    width = (torch.rand(shape, generator=generator) * limit).floor() + 1
    width = width.minimum(limit)
    start = (torch.rand(shape, generator=generator) * (lines - width + 1)).floor()
    return mark_interval(size, start, width)
