"""Masks whose patches are chosen one after another, each depending on those before it.

On numpy, which takes a fraction of torch's time for each of many small steps.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablate.model.mask_sampling import draw_uniform
from ablate.model.masking import Clips


def swap_one_by_one(
    density: Tensor, kernel: Tensor, seen: Tensor, valid: Tensor, *, swaps: int
) -> Tensor:
    """Moves the patch of highest density in `seen` to where it is lowest, again and again.

    Args:
        density: float64 (batch, patches).
        kernel: What each patch adds to the density at every other, (patches, patches).
        seen: bool (batch, patches).
        valid: bool (batch, patches).
        swaps: Greatest number of swaps.

    Returns:
        The patches after the last swap, bool (batch, patches).
    """
    current, weights = density.numpy().copy(), kernel.numpy()
    rows, chosen = np.arange(len(current)), seen.numpy()
    is_cluster = np.where(chosen, 0.0, -np.inf)  # added to the density, leaves visible patches
    is_void = np.where(valid.numpy() & ~chosen, 0.0, np.inf)
    masked = np.empty_like(current)
    for _ in range(swaps):
        cluster = np.add(current, is_cluster, out=masked).argmax(axis=1)
        current -= weights[cluster]
        is_cluster[rows, cluster], is_void[rows, cluster] = -np.inf, 0.0
        void = np.add(current, is_void, out=masked).argmin(axis=1)
        current += weights[void]
        is_cluster[rows, void], is_void[rows, void] = 0.0, np.inf
        if np.array_equal(cluster, void):
            break
    return torch.from_numpy(is_cluster == 0)


def cover_with_rectangles(
    clips: Clips,
    number: Tensor,
    *,
    least: int,
    aspect: tuple[float, float],
    attempts: int,
    max_steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Hides rectangles that fit until `number` patches are hidden, as the code of BEiT does.

    Args:
        clips: The grid and the valid patches.
        number: Greatest number of hidden patches, int64 (batch,).
        least: Least area of a rectangle, in patches.
        aspect: Range of height over width, in patches; drawn log-uniformly.
        attempts: A sample is done when as many rectangles in a row do not fit.
        max_steps: Greatest number of rectangles that are tried.
        generator: The source of randomness.

    Returns:
        The hidden patches, bool (batch, patches).
    """
    columns, wanted = clips.num_columns.numpy(), number.numpy()
    cells = np.zeros((clips.batch, clips.grid.freq, clips.grid.time), dtype=bool)
    failures = np.zeros(clips.batch, dtype=int)
    logs = torch.tensor(aspect).log()
    for _ in range(max_steps):
        left = wanted - cells.sum(axis=(1, 2))
        active = (left > 0) & (failures < attempts)
        if not active.any():
            break
        share = torch.rand(left.shape, generator=generator).numpy()
        area = least + (left - least).astype(np.float32) * share
        ratio = draw_uniform(left.shape, logs[0].item(), logs[1].item(), generator).exp().numpy()
        sides = np.sqrt(area * ratio).round(), np.sqrt(area / ratio).round()
        placed = torch.rand((2, *left.shape), generator=generator).numpy()
        fits = _hide_fitting(cells, left, sides, placed, columns, active)
        failures = np.where(fits, 0, failures + 1)
    return torch.from_numpy(cells).flatten(1)


def _hide_fitting(
    cells: NDArray[np.bool_],
    left: NDArray[np.int64],
    sides: tuple[NDArray[np.float32], NDArray[np.float32]],
    placed: NDArray[np.float32],
    columns: NDArray[np.int64],
    active: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Hides one rectangle per sample where it fits, and returns where it did, bool (batch,).

    Args:
        cells: The hidden patches, bool (batch, freq, time); changed in place.
        left: How many more patches may be hidden, (batch,).
        sides: Height and width of the rectangle, each (batch,).
        placed: Its place on either axis, in [0, 1), (2, batch).
        columns: Number of valid columns, (batch,).
        active: Samples that may hide more, bool (batch,).
    """
    freq = cells.shape[1]
    (height, width), fits = sides, np.zeros(len(cells), dtype=bool)
    may_fit = active & (height < freq) & (width < columns) & (np.minimum(height, width) > 0)
    for sample in may_fit.nonzero()[0]:
        rows, times = int(height[sample]), int(width[sample])
        top = int(placed[0, sample] * np.float32(freq - rows + 1))
        start = int(placed[1, sample] * np.float32(columns[sample] - times + 1))
        block = cells[sample, top : top + rows, start : start + times]
        count = block.size - int(block.sum())
        if 0 < count <= left[sample]:
            block[:] = True
            fits[sample] = True
    return fits
