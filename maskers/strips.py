"""Masking of whole rows and whole columns: along one axis, or both crossed.

Maskers along one axis refuse a grid with a single line to hide on it.

`TimeStrips`, `FrequencyStrips` and `TimeFrequencyProduct` are among the masks compared by Huang et
al., "Masked Autoencoders that Listen", NeurIPS 2022, sec. 3.1. https://arxiv.org/abs/2207.06405
Unlike the reference code: visible patches are found by rows and columns and not by sorting offsets,
which fails on more than 999 patches.

`TimeFrequencyUnion` is `random_structured` of Niizumi et al., "Masked Modeling Duo", ICASSP 2023.
https://arxiv.org/abs/2210.14648
https://github.com/nttcslab/m2d/blob/f0c4128/patch_m2d.diff
Unlike the reference code, unless `as_in_reference_code`: rows and columns are hidden instead of
shown, every sample draws its own number of them, and the share hidden is `ratio`. Unlike it in
either case: which of equally eligible patches are visible is drawn; there it depends on the order
of a sort, so that on 5x38 patches some rows are seen four times as often as others.

`Tube` is the random tube of Bardes et al., "Revisiting Feature Prediction for Learning Visual
Representations from Video", TMLR 2024. https://arxiv.org/abs/2404.08471
Unlike the reference code: a pattern may also last for only a part of the clip.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, choose_lowest, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, UnsupportedGridError
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
    """Hides an exact number of whole columns, singly or in strips; one strip may be shorter.

    Args:
        ratio: Share of a clip's columns hidden.
        width: Columns per strip; at most half the clip.

    Example:
        masker: {type: maskers.TimeStrips, ratio: 0.6, width: 4}
    """

    ratio: float = 0.6
    width: int = 1

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
    """Hides an exact number of whole rows, singly or in strips; one strip may be shorter.

    Args:
        ratio: Share of the rows hidden.
        width: Rows per strip; at most half the grid.

    Example:
        masker: {type: maskers.FrequencyStrips, ratio: 0.4, width: 2}
    """

    ratio: float = 0.4
    width: int = 1

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
    """Hides a pattern of rows that is constant over a stretch of time, or of columns over rows.

    A tube as long as the clip is `FrequencyStrips` or `TimeStrips`; one of length 1 is close to
    `Random`.

    Args:
        ratio: Share of the pattern's rows or columns hidden.
        along: The axis along which a pattern is constant.
        length: Patches along that axis with the same pattern. If unset, all.

    Example:
        masker: {type: maskers.Tube, ratio: 0.6, along: time, length: 8}
    """

    ratio: float = 0.9
    along: Literal["time", "freq"] = "time"
    length: int | None = None

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
    """Shows the crossings of random rows and random columns, and hides the rest.

    Args:
        time: Share of the columns hidden.
        freq: Share of the rows hidden.
        as_in_reference_code: As in the code of AudioMAE, the numbers of visible rows and columns
            are rounded down: of 8x64 patches with 0.6 and 0.5, 4 x 25 instead of 4 x 26 are seen.

    Example:
        masker: {type: maskers.TimeFrequencyProduct, time: 0.7, freq: 0.3}
    """

    time: float = 0.7
    freq: float = 0.3
    as_in_reference_code: bool = field(default=False, metadata={"as_before": False})

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
        if self.as_in_reference_code:
            least = least / 2  # for example 1.9 of 3 lines may leave one
        # a single row stays visible
        return Promises(context=((1 - self.time) * least, 1 - self.time))

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.columns
        every = torch.ones(batch, grid.freq, dtype=torch.bool)
        count = _floor_share if self.as_in_reference_code else round_share
        times = choose(count(columns.sum(1), 1 - self.time), among=columns, generator=generator)
        rows = choose(count(every.sum(1), 1 - self.freq), among=every, generator=generator)
        context = fill_columns(grid, times) & fill_rows(grid, rows)
        return Mask(context, (valid & ~context).unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class TimeFrequencyUnion(AbstractMasker):
    """Hides a random number of random rows, and as many columns as the ratio then requires.

    Args:
        ratio: Share of patches hidden.
        as_in_reference_code: As in the code of M2D: all samples of a batch have the same numbers of
            rows and columns; their shares are added as if rows and columns did not cross (so that
            0.35 of 5x38 patches stay visible instead of 0.3); and the context is that many patches
            *of* these rows and columns, from which all others are predicted.

    Example:
        masker: {type: maskers.TimeFrequencyUnion, ratio: 0.7}
    """

    ratio: float = 0.7
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
        """Draws the number of rows to hide, and computes the columns that the ratio still needs.

        One column always stays visible, so on few columns more rows are hidden.
        """
        most = min(int(grid.freq * self.ratio), grid.freq - 1)
        # 1e-9: ratios such as 0.3 are not exact in floating point
        required = grid.freq * (1 - columns.double() * (1 - self.ratio)) - 1e-9
        least = required.ceil().clamp(0, grid.freq - 1).long()
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


def _floor_share(count: Tensor, share: float) -> Tensor:
    """Like `round_share`, rounded down; 1e-9: shares such as 1 - 0.6 are not exact."""
    floored = (count * share + 1e-9).floor().long().clamp(min=1)
    return floored.minimum((count - 1).clamp(min=1))


def _draw_strips(among: Tensor, ratio: float, width: int, generator: torch.Generator) -> Tensor:
    """Hides a share of the marked lines (batch, lines) in strips with a random first edge."""
    batch, lines = among.shape
    count = among.sum(dim=1)
    widths = (count // 2).clamp(1, width).unsqueeze(1)
    edge = (torch.rand((batch, 1), generator=generator) * widths).long()
    strip = (torch.arange(lines) + edge) // widths
    keys = torch.rand((batch, lines + 1), generator=generator, dtype=torch.double)
    # the side on which the last strip is cut
    side = torch.randint(2, (batch, 1), generator=generator) * 2 - 1
    return choose_lowest(
        round_share(count, ratio),
        keys.gather(1, strip) + 1e-9 * side * torch.arange(lines),
        among=among,
    )


def _check_lines(grid: Grid, *, freq: int = 1, time: int = 1) -> None:
    """Raises `UnsupportedGridError` for a grid with too few rows or columns to hide some."""
    if grid.freq < freq or grid.time < time:
        line = "row" if grid.freq < freq else "column"
        raise UnsupportedGridError(f"{grid} has one {line}, and hiding it would hide the clip")
