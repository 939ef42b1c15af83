"""Marks and places rows, columns, spans and rectangles, for several maskers."""

import math
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, draw_uniform, leave_visible
from ablate.model.masking import Grid, Mask
from maskers.composition import get_fallback

EDGES = "a rectangle has fewer positions at the edges than in the middle"
ENDS = "a span has fewer positions at the ends than in the middle"

Units = Literal["grid", "patches"]  # compare axes as shares of the grid, or in patches


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
    """Returns the range of a share after rounding to lines, on grids of 2 to 64 lines.

    Half a line may be rounded up or down: a masker counts the share or its complement.
    """
    shares = [
        min(max(count, 1), lines - 1) / lines
        for lines in range(2, 65)
        for count in (round(lines * share), lines - round(lines * (1 - share)))
    ]
    return min(shares), max(shares)


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
    """Draws heights and widths of rectangles, in patches, for clips with `columns` valid columns.

    Like `draw_rectangles`, except that with `units: patches` an aspect of 1 is a square of patches
    on every grid. `shape` and `columns` are broadcast.
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
    """Places rectangles uniformly in the valid `columns`; they may touch the edges.

    Returns:
        Rows, bool (*shape, freq), and columns, bool (*shape, time).
    """
    top = (torch.rand(shape, generator=generator) * (grid.freq - height + 1)).floor()
    left = (torch.rand(shape, generator=generator) * (columns - width + 1)).floor()
    return mark_interval(grid.freq, top, height), mark_interval(grid.time, left, width)


def cross(rows: Tensor, times: Tensor) -> Tensor:
    """Marks the patches in both rows (..., freq) and columns (..., time), bool (..., patches)."""
    return (rows.unsqueeze(-1) & times.unsqueeze(-2)).flatten(-2)


def mark_covered(rows: Tensor, times: Tensor) -> Tensor:
    """Marks what rectangles (batch, blocks, axis) cover together, bool (batch, patches)."""
    return (rows.float().transpose(1, 2) @ times.float()).flatten(1) > 0


def compute_arrival(keys: Tensor, lengths: Tensor | int, size: int) -> Tensor:
    """Computes the least key of the spans that cover each position, (..., size).

    If spans arrive in the order of their keys, this is when a position is first covered. A random
    order of all starts is equivalent to drawing starts one by one, with replacement.

    Args:
        keys: One span starts at each entry, (..., size + longest - 1). The first `longest - 1`
            start before the axis, so that every position is covered equally often.
        lengths: Lengths of the spans, of the shape of `keys`. A number: all are `longest`.
        size: Length of the axis.
    """
    longest = keys.shape[-1] - size + 1
    windows = keys.unfold(-1, longest, 1)  # (..., size, longest)
    if isinstance(lengths, Tensor):
        distance = torch.arange(longest - 1, -1, -1)
        windows = windows.masked_fill(lengths.unfold(-1, longest, 1) <= distance, math.inf)
    return windows.amin(dim=-1)


def fill_empty(
    context: Tensor, targets: Tensor, *, valid: Tensor, generator: torch.Generator
) -> Mask:
    """Adds a patch to an empty context, and to the first block of a sample without targets.

    A clip of one column cannot be split by time, nor one of one row by frequency. The patch is one
    that is neither context nor target, if there is any. The samples are marked as fallbacks.
    """
    hidden = targets.any(dim=1)
    no_context, no_target = ~context.any(dim=1), ~hidden.any(dim=1)
    poor = no_context | no_target
    if poor.any():
        rest = valid & ~context & ~hidden
        rest |= (hidden | context) & ~rest.any(dim=1, keepdim=True)
        added = choose(poor.long(), among=rest, generator=generator)
        first = torch.arange(targets.shape[1]).view(-1, 1) == 0
        context = torch.where(no_context.unsqueeze(1), context | added, context & ~added)
        new_target = (added & no_target.unsqueeze(1)).unsqueeze(1)
        targets = (targets & ~added.unsqueeze(1)) | (new_target & first)
    return Mask(context, targets, poor)


def show_rest(targets: Tensor, *, valid: Tensor, generator: torch.Generator) -> Mask:
    """Makes everything that is in no target block the context.

    Blocks that together hide a complete clip are dropped, and the sample is marked as a fallback.

    Args:
        targets: bool (batch, blocks, patches).
        valid: bool (batch, patches).
        generator: The source of randomness.
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
    """Raises `ValueError` for a length below one patch."""
    if length < 1:
        raise ValueError(f"`{name}` must be at least 1 patch; got {length}")
