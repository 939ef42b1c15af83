"""One stretch of time, or one band of frequency, is predicted from the rest.

`SpecAugment`: Park et al., "SpecAugment: A Simple Data Augmentation Method for Automatic Speech
Recognition", Interspeech 2019, sec. 2. https://arxiv.org/abs/1904.08779
Unlike there: widths are shares of the clip, and a band is at least one patch wide.

`Causal`: the future from the past, as in van den Oord et al., "Representation Learning with
Contrastive Predictive Coding", 2018. https://arxiv.org/abs/1807.03748
Unlike there: one cut per clip, and the future as a whole.

`Infill` and `BandSplit` are controls of our own: a hole in time with sound on both sides, and one
half of the spectrum from the other.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import draw_uniform, round_share
from ablate.model.masking import (
    AbstractMasker,
    Clips,
    GridRefusedError,
    Mask,
    Promises,
    check_range,
)
from maskers.geometry import (
    fill_columns,
    fill_empty,
    fill_rows,
    mark_interval,
    show_rest,
)
from maskers.sampling import check_ratio

BAND_ENDS = "a band has fewer places at the ends of its axis than in the middle"


@dataclass(frozen=True, kw_only=True)
class SpecAugment(AbstractMasker):
    """Hides a few bands of time and a few of frequency, each a target of its own.

    Refuses a grid of one row and one column, and one of one line on the only axis that has bands.
    """

    time_bands: int = 2  # how many, which may overlap
    freq_bands: int = 2
    time_width: float = 0.1  # greatest width of a band, share of the clip: 100 of 1,000 frames
    freq_width: float = 0.2  # greatest height of a band, share of the axis: 27 of 128 bins

    def __post_init__(self) -> None:
        if min(self.time_bands, self.freq_bands) < 0 or self.time_bands + self.freq_bands == 0:
            raise ValueError(
                "`time_bands` and `freq_bands` must give one band at least; "
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
            raise GridRefusedError(f"a band would hide the whole of {grid}; hide the other axis")
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
    """Shows the beginning of a clip and hides what follows, all of it or up to a horizon."""

    context: float | tuple[float, float] = (0.3, 0.8)  # share of the clip's columns shown
    horizon: float | None = None  # share of the clip's columns to predict; all that follow if unset
    gap: int = 0  # columns in between that are neither, as far as a target remains

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
        shown = round_share(columns, share)
        first = (shown + self.gap).minimum(columns - 1).maximum(shown)
        hidden = columns - first
        if self.horizon is not None:
            hidden = hidden.minimum((columns * self.horizon).round().long().clamp(min=1))
        context = fill_columns(grid, mark_interval(grid.time, torch.zeros_like(shown), shown))
        targets = fill_columns(grid, mark_interval(grid.time, first, hidden)).unsqueeze(1)
        return fill_empty(context, targets, valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Infill(AbstractMasker):
    """Hides one stretch of time, at all frequencies, and shows what lies before and after."""

    ratio: float | tuple[float, float] = (0.2, 0.5)  # share of the clip's columns

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
    """Cuts the spectrum in two: one band is shown at all times, the other predicted.

    Refuses a grid of one row.
    """

    context: Literal["low", "high", "random"] = "low"  # the band that is shown
    ratio: float | tuple[float, float] = 0.5  # share of the rows hidden

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        low, high = check_ratio(self.ratio)
        ends = "one end of the spectrum is always shown and the other always hidden"
        middle = "the middle is always on the wider side of the cut"
        unvisited = ends if self.context != "random" else "" if low <= 0.5 <= high else middle
        shown = [
            (max(int(rows * (1 - high)), 1) / rows, min(int(rows * (1 - low)) + 1, rows - 1) / rows)
            for rows in range(2, 65)
        ]
        return Promises(
            context=(min(least for least, _ in shown), max(most for _, most in shown)),
            uneven=unvisited,
            unvisited=unvisited,
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        if grid.freq == 1:
            raise GridRefusedError(f"{grid} has one row, which cannot be split by frequency")
        hidden = draw_uniform((batch,), *check_ratio(self.ratio), generator) * grid.freq
        chance = torch.rand(batch, generator=generator)  # of a row that the share cuts in two
        shown = (grid.freq - hidden + chance).floor().clamp(1, grid.freq - 1)
        high = torch.rand(batch, generator=generator) < 0.5
        if self.context != "random":
            high = torch.full((batch,), self.context == "high")
        start = torch.where(high, grid.freq - shown, 0)
        context = fill_rows(grid, mark_interval(grid.freq, start, shown)) & valid
        return Mask(context, (valid & ~context).unsqueeze(1))


def _draw_bands(
    size: int,
    shape: tuple[int, int],
    widest: float,
    *,
    lines: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draws bands on an axis of which so many `lines` (batch, 1) are real, bool (*shape, size)."""
    limit = (lines * widest).round().clamp(min=1).minimum(lines - 1)
    width = (torch.rand(shape, generator=generator) * limit).floor() + 1
    width = width.minimum(limit)
    start = (torch.rand(shape, generator=generator) * (lines - width + 1)).floor()
    return mark_interval(size, start, width)
