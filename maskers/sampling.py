"""Chooses patches for unstructured, noise-shaped and content-aware maskers."""

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose, round_share
from ablate.model.masking import Grid, Mask, check_range


def check_ratio(ratio: float | tuple[float, float]) -> tuple[float, float]:
    """Validates a share hidden, or a range of it, and returns it as a pair.

    Raises:
        ValueError: If it may hide nothing or everything.
    """
    low, high = check_range("ratio", ratio, low=0, high=1)
    if low == 0 or high == 1:
        raise ValueError(f"`ratio` {ratio} hides nothing or everything; stay inside (0, 1)")
    return low, high


def hide_rest(context: Tensor, valid: Tensor) -> Mask:
    """Makes one target block of all valid patches that are not context, both (batch, patches)."""
    return Mask(context, (valid & ~context).unsqueeze(1))


def count_hidden(valid: Tensor, ratio: float) -> Tensor:
    """Counts the patches that are hidden if `ratio` of those in `valid` are, int64 (batch,)."""
    count = valid.sum(dim=1)
    return count - round_share(count, 1 - ratio)


def draw_exponential_keys(log_weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draws keys whose k lowest are k draws without replacement in proportion to weight.

    A key is an exponential waiting time with the weight as rate (Efraimidis and Spirakis, 2006).
    """
    wait = torch.rand(log_weight.shape, generator=generator, dtype=torch.double)
    return (-torch.log1p(-wait)).clamp(min=1e-300).log() - log_weight


def break_ties(scores: Tensor, generator: torch.Generator) -> Tensor:
    """Adds noise that orders equal scores at random, too small to reorder others."""
    return scores + 1e-12 * torch.rand(scores.shape, generator=generator, dtype=torch.double)


def scatter(
    grid: Grid, number: Tensor, *, share: float, valid: Tensor, generator: torch.Generator
) -> Tensor:
    """Chooses `number` (batch,) patches that keep a distance, bool (batch, patches).

    Patches are added at a minimal distance until none is free, then at the next smaller distance,
    until there are `number`. In each round a free patch is added if its random priority is the
    highest of all free patches within the distance. `share`, about the share that will be chosen,
    sets the first distance. Distances wrap around the edges, so that all patches are equal.
    """
    chosen = torch.zeros_like(valid)
    priority = _draw_priorities(grid, len(valid), generator)
    for reach in _list_distances(grid, share):
        free = valid & ~_compute_maximum(grid, chosen, reach)
        while (free := free & (chosen.sum(dim=1) < number).unsqueeze(1)).any():
            contenders = priority * free
            winners = free & (_compute_maximum(grid, contenders, reach) == contenders)
            missing = number - chosen.sum(dim=1)
            many = winners.sum(dim=1) > missing
            if many.any():
                winners[many] = choose(missing[many], among=winners[many], generator=generator)
            chosen |= winners
            free &= ~_compute_maximum(grid, winners, reach)
    left = number - chosen.sum(dim=1)
    return chosen | choose(left, among=valid & ~chosen, generator=generator)


def _draw_priorities(grid: Grid, batch: int, generator: torch.Generator) -> Tensor:
    """Draws a positive number per patch, unique in its sample, int32 (batch, patches)."""
    bits = grid.size.bit_length()
    priority = torch.randint(
        2 ** (31 - bits), (batch, grid.size), generator=generator, dtype=torch.int32
    )
    return (priority << bits) + torch.arange(1, grid.size + 1, dtype=torch.int32)


def _list_distances(grid: Grid, share: float) -> list[int]:
    """Lists squared distances in descending order; at the first, less than `share` fits.

    Random discs jam when they cover 0.55 of a plane (0.7 of squares), or 0.83 of a line.
    """
    first = max(0.7 / share, (0.83 / share / grid.freq) ** 2)
    lattice = {
        rows**2 + columns**2
        for rows in range(min(grid.freq, int(first) + 2))
        for columns in range(min(grid.time, int(first) + 2))
    }
    above = [reach for reach in lattice if reach >= first]
    limit = min(above, default=max(lattice))
    return sorted((reach for reach in lattice if 1 < reach <= limit), reverse=True)


def _compute_maximum(grid: Grid, values: Tensor, reach: int) -> Tensor:
    """Computes the maximum over all patches closer than the root of `reach`, itself included."""
    cells = values.view(-1, grid.freq, grid.time)
    rows = cells
    most = {0: cells}  # number of columns on either side -> maximum over them
    for columns in range(1, grid.time // 2 + 1):
        if columns**2 >= reach:
            break
        for step in (-columns, columns):
            rows = torch.maximum(rows, cells.roll(step, dims=2))
        most[columns] = rows
    out = rows
    for distance in range(1, grid.freq // 2 + 1):
        if distance**2 >= reach:
            break
        widest = max(columns for columns in most if distance**2 + columns**2 < reach)
        for step in (-distance, distance):
            out = torch.maximum(out, most[widest].roll(step, dims=1))
    return out.flatten(1)
