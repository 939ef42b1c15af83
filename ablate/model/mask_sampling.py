"""Samples patches and rectangles for maskers: whole batches at once, from a given generator."""

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.model.masking import Clips, Mask, union


def intersection(left: Tensor, right: Tensor) -> Tensor:
    """Returns `left & right` of bools, broadcast; as a product of bytes, ten times as fast."""
    return (left.view(torch.uint8) * right.view(torch.uint8)).view(torch.bool)


def round_share(count: Tensor, share: float | Tensor) -> Tensor:
    """Rounds a share of `count` patches to whole patches, int64 (...).

    At least one patch is counted, and of two or more patches at least one is not.
    """
    return (count * share).round().long().clamp(min=1).minimum((count - 1).clamp(min=1))


def choose(number: Tensor, *, among: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses exactly `number` of the patches marked in `among`, uniformly.

    Args:
        number: int64 (...).
        among: bool (..., patches). If fewer than `number` are marked, all of them are chosen.
        generator: The source of randomness.

    Returns:
        The chosen patches, bool (..., patches).
    """
    return choose_lowest(number, torch.rand(among.shape, generator=generator), among=among)


def choose_lowest(number: Tensor, scores: Tensor, *, among: Tensor) -> Tensor:
    """Chooses exactly the `number` patches with the lowest scores of those marked in `among`.

    Of equal scores the first are chosen: one row of 512 random floats in 30,000 has a tie that
    matters. Sorting values and comparing with one of them is many times faster than an argsort,
    and numpy sorts short rows many times faster than torch.

    Args:
        number: int64 (...).
        scores: float (..., patches).
        among: bool (..., patches). If fewer than `number` are marked, all of them are chosen.

    Returns:
        The chosen patches, bool (..., patches).
    """
    keys = scores.masked_fill(~among, torch.inf)
    ordered = torch.from_numpy(np.sort(keys.numpy(), axis=-1))
    wanted = number.unsqueeze(-1)
    highest = ordered.gather(-1, (wanted - 1).clamp(0, keys.shape[-1] - 1))
    chosen = (keys <= highest) & among & (wanted > 0)
    surplus = chosen.sum(dim=-1, keepdim=True) - wanted
    if (surplus > 0).any():
        tied = chosen & (keys == highest)
        chosen &= ~tied | (tied.flip(-1).cumsum(dim=-1).flip(-1) > surplus)
    return chosen


def cut_to_smallest(member: Tensor, generator: torch.Generator | None) -> Tensor:
    """Cuts sets of patches to the size of the smallest; empty sets stay empty and do not count.

    Args:
        member: bool (..., patches).
        generator: Keeps random patches. None keeps the first in raster order.
    """
    counts = member.sum(dim=-1)
    least = counts[counts > 0].min()  # a sample may leave blocks empty
    if generator is not None:
        return choose(least.expand_as(counts), among=member, generator=generator)
    return member & (member.cumsum(dim=-1) <= least)


def draw_uniform(
    shape: tuple[int, ...], low: float, high: float, generator: torch.Generator
) -> Tensor:
    """Draws float32 of a shape uniformly from [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def draw_rectangles(
    clips: Clips,
    shape: tuple[int, ...],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Draws solid rectangles inside the valid part of the grid; every position is equally likely.

    The width is derived from the *rounded* height: on one row, deriving both alike would inflate
    every block. On two or three columns the area is kept except for that rounding: of 0.175 two
    columns may make 0.22.

    Args:
        clips: The grid and the valid patches.
        shape: Begins with the batch.
        area: Range of the share of a sample's valid patches, drawn uniformly.
        aspect: Range of height over width, both as shares of their axes, so that a thin grid gets
            thin blocks and the area is kept. Drawn log-uniformly.
        generator: The source of randomness.

    Returns:
        The patches of each rectangle, bool (*shape, patches).
    """
    # on numpy, which takes half of torch's time for a few numbers; the exponential stays torch's
    grid, single = clips.grid, np.float32
    columns = clips.columns.numpy().sum(axis=1).reshape(-1, *[1] * (len(shape) - 1))
    columns = columns.clip(min=1).astype(single)
    share = draw_uniform(shape, *area, generator).numpy()
    ratio = draw_uniform(shape, *_compute_logs(aspect), generator).exp_().numpy()
    cells = share * single(grid.freq) * columns

    height = np.rint(np.sqrt(share * ratio) * single(grid.freq)).clip(1, grid.freq)
    unclamped = np.rint(cells / height)
    width = np.minimum(unclamped.clip(min=1), columns)
    refitted = np.rint(cells / width).clip(1, grid.freq)
    height = np.where(width == unclamped, height, refitted)

    place = torch.rand((2, *shape), generator=generator).numpy()
    in_rows = _mark_interval(
        np.floor(place[0] * (single(grid.freq + 1) - height)), height, grid.freq
    )
    in_times = _mark_interval(np.floor(place[1] * (columns - width + 1)), width, grid.time)
    return intersection(in_rows.unsqueeze(-1), in_times.unsqueeze(-2)).flatten(-2)


@functools.lru_cache
def _compute_logs(pair: tuple[float, float]) -> tuple[float, float]:
    logs = torch.tensor(pair).log()
    return logs[0].item(), logs[1].item()


def _mark_interval(start: NDArray[Any], length: NDArray[Any], size: int) -> Tensor:
    """Marks `length` (...) positions from `start` (...) on an axis of `size`, bool (..., size)."""
    positions = np.arange(size, dtype=start.dtype)
    marked = (positions >= start[..., None]) & (positions < (start + length)[..., None])
    return torch.from_numpy(marked)


def leave_visible(
    context: Tensor,
    targets: Tensor,
    *,
    valid: Tensor,
    least: Tensor,
    generator: torch.Generator,
) -> Mask:
    """Removes the targets from the context, and drops target blocks that would empty it.

    The first block is kept. Each later block is kept if, together with those kept before it, it
    leaves at least `least` patches of the context. If the first block covers the context, all
    patches around it become the context; if it covers the whole clip, one of its patches does.

    Args:
        context: bool (batch, patches).
        targets: bool (batch, blocks, patches).
        valid: bool (batch, patches).
        least: int64 (batch,).
        generator: The source of randomness.

    Returns:
        The mask; `fallback` marks the samples that had to be changed.
    """
    least = least.clamp(min=1)
    visible = context & ~union(targets)
    if (visible.sum(dim=1) >= least).all():
        return Mask(visible, targets, torch.zeros(len(context), dtype=torch.bool))
    hidden = torch.zeros_like(context)
    kept: list[Tensor] = []
    for block in targets.unbind(dim=1):  # few blocks: faster than `cumsum` of bools
        more = hidden | block
        enough = (context & ~more).sum(dim=1) >= least
        kept.append(enough if kept else torch.ones_like(enough))
        hidden = hidden | intersection(block, kept[-1].unsqueeze(1))
    all_kept = torch.stack(kept, dim=1)
    targets = intersection(targets, all_kept.unsqueeze(-1))
    context = context & ~hidden

    empty = context.sum(dim=1) == 0
    if empty.any():
        around = valid & ~union(targets)
        context = torch.where(empty.unsqueeze(-1), around, context)
        is_covered = ~context.any(dim=1)
        revealed = choose(is_covered.long(), among=targets[:, 0], generator=generator)
        context = context | revealed
        targets = targets & ~revealed.unsqueeze(1)
    return Mask(context, targets, empty | ~all_kept.all(dim=1))
