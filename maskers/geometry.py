"""Rows, columns, windows and rectangles: the geometry that block, axis and span maskers share."""

import math
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, draw_uniform, leave_visible
from ablate.model.masking import Grid, Mask
from maskers.composition import get_fallback

EDGES = "a rectangle has fewer places at the edges than in the middle"
ENDS = "a span has fewer places at the ends than in the middle"

Units = Literal["grid", "patches"]  # how the two axes are compared: as shares, or patch by patch


def fill_columns(grid: Grid, times: Tensor) -> Tensor:
    """Marks every patch of the marked columns (..., time), bool (..., patches)."""
    return times.unsqueeze(-2).expand(*times.shape[:-1], grid.freq, grid.time).flatten(-2)


def fill_rows(grid: Grid, rows: Tensor) -> Tensor:
    """Marks every patch of the marked rows (..., freq), bool (..., patches)."""
    return rows.unsqueeze(-1).expand(*rows.shape[:-1], grid.freq, grid.time).flatten(-2)


def mark_interval(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Marks `length` (...) positions from `start` (...) on an axis of `size`, bool (..., size)."""
    positions = torch.arange(size)
    return (positions >= start.unsqueeze(-1)) & (positions < (start + length).unsqueeze(-1))


def round_to_lines(share: float) -> tuple[float, float]:
    """Returns the range that a share becomes when rounded to whole lines, of 2 to 64.

    Half a line is rounded up or down, as the share or the rest is what a masker counts.
    """
    made = [
        min(max(whole, 1), lines - 1) / lines
        for lines in range(2, 65)
        for whole in (round(lines * share), lines - round(lines * (1 - share)))
    ]
    return min(made), max(made)


def draw_sides(
    grid: Grid,
    shape: tuple[int, ...],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    columns: Tensor,
    generator: torch.Generator,
    units: Units = "grid",
) -> tuple[Tensor, Tensor]:
    """Draws heights and widths of rectangles, in patches, for clips of so many real `columns`.

    Both have the shape that `shape` and `columns` are broadcast to. As `rectangles` of the contract
    does, except that `units: patches` compares the axes patch by patch: an aspect of 1 is then a
    square of patches, as wide as it is high on every grid.
    """
    share = draw_uniform(shape, *area, generator)
    logs = torch.tensor(aspect).log()
    ratio = draw_uniform(shape, logs[0].item(), logs[1].item(), generator).exp()
    cells = share * grid.freq * columns
    square = (share * ratio).sqrt() * grid.freq if units == "grid" else (cells * ratio).sqrt()
    height = square.round().clamp(1, grid.freq)
    width = (cells / height).round().clamp(min=1)
    height = torch.where(width > columns, (cells / columns).round().clamp(1, grid.freq), height)
    return height, width.minimum(columns)


def place_rectangles(
    grid: Grid,
    shape: tuple[int, ...],
    *,
    height: Tensor,
    width: Tensor,
    columns: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Places rectangles of given sides in real `columns`, edges included.

    Returns bool rows (*shape, freq) and times (*shape, time).
    """
    top = (torch.rand(shape, generator=generator) * (grid.freq - height + 1)).floor()
    left = (torch.rand(shape, generator=generator) * (columns - width + 1)).floor()
    return mark_interval(grid.freq, top, height), mark_interval(grid.time, left, width)


def cross(rows: Tensor, times: Tensor) -> Tensor:
    """Returns the patches of rectangles given by rows and times, bool (..., patches)."""
    return (rows.unsqueeze(-1) & times.unsqueeze(-2)).flatten(-2)


def mark_covered(rows: Tensor, times: Tensor) -> Tensor:
    """Returns what rectangles (batch, blocks, axis) cover together, bool (batch, patches)."""
    return (rows.float().transpose(1, 2) @ times.float()).flatten(1) > 0


def compute_arrival(keys: Tensor, lengths: Tensor | int, size: int) -> Tensor:
    """Returns the least key of the spans that cover each position, (..., size).

    That tells when it is first covered if spans arrive in the order of their keys. A span starts
    at each entry of `keys` (..., size + longest - 1), the first `longest - 1` of which lie before
    the axis: spans hang over both ends, so that every position is covered alike. `lengths` are
    those of the spans, of the shape of `keys`; a number means that all are `longest`. A random
    order of all starts is what drawing starts one by one, with replacement, gives.
    """
    longest = keys.shape[-1] - size + 1
    windows = keys.unfold(-1, longest, 1)  # (..., size, longest): starts that may reach a position
    if isinstance(lengths, Tensor):
        distance = torch.arange(longest - 1, -1, -1)
        windows = windows.masked_fill(lengths.unfold(-1, longest, 1) <= distance, math.inf)
    return windows.amin(dim=-1)


def fill_empty(
    context: Tensor, targets: Tensor, *, valid: Tensor, generator: torch.Generator
) -> Mask:
    """Gives a patch to the context, or to the first block, where a sample has none.

    A clip of one column cannot be split by time, nor one of one row by frequency. The patch is one
    that is neither, if there is any. Such samples are marked in the mask's `fallback`.
    """
    hidden = targets.any(dim=1)
    blind, aimless = ~context.any(dim=1), ~hidden.any(dim=1)
    poor = blind | aimless
    if poor.any():
        rest = valid & ~context & ~hidden
        rest |= (hidden | context) & ~rest.any(dim=1, keepdim=True)
        given = choose(poor.long(), among=rest, generator=generator)
        first = torch.arange(targets.shape[1]).view(-1, 1) == 0
        context = torch.where(blind.unsqueeze(1), context | given, context & ~given)
        aim = (given & aimless.unsqueeze(1)).unsqueeze(1)
        targets = (targets & ~given.unsqueeze(1)) | (aim & first)
    return Mask(context, targets, poor)


def show_rest(targets: Tensor, *, valid: Tensor, generator: torch.Generator) -> Mask:
    """Shows all that no target block holds, giving up blocks that together hide a whole clip.

    `targets` is bool (batch, blocks, patches), `valid` (batch, patches). Samples that had to be
    changed are marked in the mask's `fallback`.
    """
    context = valid & ~targets.any(dim=1)
    empty = ~context.any(dim=1)
    if empty.any():
        least = torch.ones(int(empty.sum()), dtype=torch.long)
        kept = leave_visible(
            valid[empty], targets[empty], valid=valid[empty], least=least, generator=generator
        )
        targets = targets.clone()
        context[empty], targets[empty] = kept.context, kept.targets
    mask = fill_empty(context, targets, valid=valid, generator=generator)
    return Mask(mask.context, mask.targets, empty | get_fallback(mask))


def check_length(name: str, length: int) -> None:
    """Raises `ValueError` for a length of less than a patch."""
    if length < 1:
        raise ValueError(f"`{name}` must be at least 1 patch; got {length}")
