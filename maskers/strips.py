"""Whole rows and whole columns: masks that follow one axis, or cross the two.

Those of one axis refuse a grid that has a single line to hide on it.

`TimeStrips`, `FrequencyStrips` and `TimeFrequencyProduct` are among the maskings compared by Huang
et al., "Masked Autoencoders that Listen", NeurIPS 2022, sec. 3.1. https://arxiv.org/abs/2207.06405
Unlike the reference code: kept patches are found by rows and columns and not by sorting offsets,
which fails on more than 999 patches.

`TimeFrequencyUnion` is `random_structured` of Niizumi et al., "Masked Modeling Duo", ICASSP 2023.
https://arxiv.org/abs/2210.14648
https://github.com/nttcslab/m2d/blob/f0c4128/patch_m2d.diff
Unlike the reference code, unless `as_in_reference_code`: rows and columns are hidden and not
shown, every
sample draws its own number of them, and the share hidden is the one asked for. Unlike it in either
case: which of equally eligible patches are seen is drawn; there the order of a sort decides, by
which on 5x38 patches some rows are seen four times as often as others.

`Tube` is the random tube of Bardes et al., "Revisiting Feature Prediction for Learning Visual
Representations from Video", TMLR 2024. https://arxiv.org/abs/2404.08471
Unlike the reference code: a pattern may also last for a part of the clip only.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, GridRefusedError, Mask, Promises
from maskers.geometry import (
    check_length,
    fill_columns,
    fill_empty,
    fill_rows,
    round_to_lines,
    show_rest,
)
from maskers.sampling import check_ratio


@dataclass(frozen=True, kw_only=True)
class TimeStrips(AbstractMasker):
    """Hides an exact number of whole columns, singly or in strips; one strip may be cut short."""

    ratio: float = 0.6  # share of a clip's columns
    width: int = 1  # of a strip, in columns; at most half the clip

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("width", self.width)

    @property
    def promises(self) -> Promises:
        return Promises(context=(1 - self.ratio, 1 - self.ratio))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        _check_lines(grid, time=2)
        times = _draw_strips(clips.columns, self.ratio, self.width, generator)
        hidden = fill_columns(grid, times).unsqueeze(1)
        return show_rest(hidden, valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class FrequencyStrips(AbstractMasker):
    """Hides an exact number of whole rows, singly or in strips; one strip may be cut short."""

    ratio: float = 0.4  # share of the grid's rows
    width: int = 1  # of a strip, in rows; at most half the grid

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("width", self.width)

    @property
    def promises(self) -> Promises:
        return Promises(context=round_to_lines(1 - self.ratio))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        _check_lines(grid, freq=2)
        every = torch.ones(batch, grid.freq, dtype=torch.bool)
        hidden = fill_rows(grid, _draw_strips(every, self.ratio, self.width, generator)) & valid
        return Mask(valid & ~hidden, hidden.unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class Tube(AbstractMasker):
    """Hides one pattern of rows for as long as a tube lasts, or of columns for as high as it is.

    A tube as long as the clip is `FrequencyStrips`, or `TimeStrips`; of length 1 nearly `Random`.
    """

    ratio: float = 0.9  # share of the pattern's rows or columns hidden
    along: Literal["time", "freq"] = "time"  # the axis on which a pattern is kept
    length: int | None = None  # patches along that axis with one pattern; all, unless set

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_length("length", self.length or 1)

    @property
    def promises(self) -> Promises:
        shares = round_to_lines(1 - self.ratio)
        return Promises(context=shares if self.along == "time" else (1 - self.ratio,) * 2)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        if self.along == "time":
            _check_lines(grid, freq=2)
            kept, lines = grid.time, torch.ones(batch, grid.freq, dtype=torch.bool)
        else:
            _check_lines(grid, time=2)
            kept, lines = grid.freq, clips.columns
        tube = torch.arange(kept) // (self.length or kept)
        among = lines.unsqueeze(1).expand(-1, int(tube[-1]) + 1, -1)
        number = round_share(among.sum(dim=2), self.ratio)
        pattern = choose(number, among=among, generator=generator)[:, tube]  # (batch, kept, lines)
        hidden = (pattern.transpose(1, 2) if self.along == "time" else pattern).flatten(1) & valid
        return show_rest(hidden.unsqueeze(1), valid=valid, generator=generator)


@dataclass(frozen=True, kw_only=True)
class TimeFrequencyProduct(AbstractMasker):
    """Shows the crossings of kept rows with kept columns, and hides the rest."""

    time: float = 0.7  # share of the columns hidden
    freq: float = 0.3  # share of the rows hidden

    def __post_init__(self) -> None:
        for name, share in (("time", self.time), ("freq", self.freq)):
            if not 0 < share < 1:
                raise ValueError(
                    f"`{name}` must lie inside (0, 1); got {share}; to hide along one axis alone "
                    "use TimeStrips or FrequencyStrips"
                )

    @property
    def promises(self) -> Promises:
        least, _ = round_to_lines(1 - self.freq)
        return Promises(context=((1 - self.time) * least, 1 - self.time))  # a lone row is kept

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.columns
        every = torch.ones(batch, grid.freq, dtype=torch.bool)
        times = choose(
            round_share(columns.sum(1), 1 - self.time), among=columns, generator=generator
        )
        rows = choose(round_share(every.sum(1), 1 - self.freq), among=every, generator=generator)
        context = fill_columns(grid, times) & fill_rows(grid, rows)
        return Mask(context, (valid & ~context).unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class TimeFrequencyUnion(AbstractMasker):
    """Hides random rows, a random number of them, and so many columns as the ratio still lacks.

    With `as_in_reference_code`, as in M2D's code: the numbers are shared by the batch, their
    shares are added
    up as if rows and columns did not cross (so that .35 of 5x38 patches stay and not .3), and the
    context is so many patches *of* the rows and columns, from which all others are predicted.
    """

    ratio: float = 0.7  # share hidden
    as_in_reference_code: bool = field(default=False, metadata={"named_before": "shipped"})

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def promises(self) -> Promises:
        if not self.as_in_reference_code:
            return Promises(context=(1 - self.ratio, 1 - self.ratio))
        return Promises(
            context=(max(0.0, 0.5 - self.ratio), (1 - self.ratio / 2) ** 2), coupled=True
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.columns
        every = torch.ones(batch, grid.freq, dtype=torch.bool)
        numbers = self._draw_reference_numbers if self.as_in_reference_code else self._draw_numbers
        number_rows, number_columns = numbers(grid, columns.sum(dim=1), generator)
        rows = choose(number_rows, among=every, generator=generator)
        times = choose(number_columns, among=columns, generator=generator)
        crossed = (fill_rows(grid, rows) | fill_columns(grid, times)) & valid
        if not self.as_in_reference_code:
            return show_rest(crossed.unsqueeze(1), valid=valid, generator=generator)
        keys = torch.rand(valid.shape, generator=generator) - crossed.float()
        context = choose_lowest((valid & ~crossed).sum(dim=1), keys, among=valid)
        targets = (valid & ~context).unsqueeze(1)
        return fill_empty(context, targets, valid=valid, generator=generator)

    def _draw_numbers(
        self, grid: Grid, columns: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draws how many rows to hide, and of the columns what then is missing to the ratio.

        One column stays, so that few columns leave more to the rows.
        """
        most = min(int(grid.freq * self.ratio), grid.freq - 1)
        few = (
            grid.freq * (1 - columns.double() * (1 - self.ratio)) - 1e-9
        )  # a hair: 0.3 is no float
        least = few.ceil().clamp(0, grid.freq - 1).long()
        rows = torch.randint(most + 1, columns.shape, generator=generator).maximum(least)
        missing = 1 - (1 - self.ratio) / (1 - rows / grid.freq)
        return rows, (columns * missing).round().long().minimum(columns - 1)

    def _draw_reference_numbers(
        self, grid: Grid, columns: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        draw = torch.rand((), generator=generator).item()
        rows = min(int((grid.freq * self.ratio + 1) * draw), grid.freq - 1)
        missing = (self.ratio + 0.5 / columns.double() - rows / grid.freq).clamp(min=0)
        return torch.full_like(columns, rows), (columns * missing).long()


def _draw_strips(among: Tensor, ratio: float, width: int, generator: torch.Generator) -> Tensor:
    """Hides a share of the marked lines (batch, lines) in strips, from a random first edge on."""
    batch, lines = among.shape
    count = among.sum(dim=1)
    widths = (count // 2).clamp(1, width).unsqueeze(1)
    edge = (torch.rand((batch, 1), generator=generator) * widths).long()
    strip = (torch.arange(lines) + edge) // widths
    keys = torch.rand((batch, lines + 1), generator=generator, dtype=torch.double)
    side = torch.randint(2, (batch, 1), generator=generator) * 2 - 1  # where the last is cut short
    return choose_lowest(
        round_share(count, ratio),
        keys.gather(1, strip) + 1e-9 * side * torch.arange(lines),
        among=among,
    )


def _check_lines(grid: Grid, *, freq: int = 1, time: int = 1) -> None:
    """Refuses a grid that has too few rows or columns to hide some of them whole."""
    if grid.freq < freq or grid.time < time:
        line = "row" if grid.freq < freq else "column"
        raise GridRefusedError(f"{grid} has one {line}: to hide it is to hide the whole clip")
