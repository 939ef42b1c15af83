"""I-JEPA's mask collator as published, faults included, for numbers that were made with it.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023. https://arxiv.org/abs/2301.08243
https://github.com/facebookresearch/ijepa/blob/52c1ae9/src/masks/multiblock.py
Kept: one target size and one context size for the whole batch; one random number for a block's
scale and aspect both; sizes in patches whatever the grid's shape, cut to less than the grid; a
block never reaches the last row or column; after 20 tries the context may overlap a target.
Unlike the reference code: it ends. The reference redraws a block until it holds more than
`min_keep` patches. By default a target, a fifth of the grid at most, never does on two rows of up
to 276 columns or on fewer than 48 patches; in some batches none does on most grids of up to 78
(8x8: in half of them), on three rows of up to 76 columns and on four of up to 23. There the
reference draws for ever. Here a target stays as small as it is drawn, and the context takes its
last try, be it nothing but targets: on 4x8, 93 of 100 do, and nearly half of what they see is asked
for. The collator also cuts every sample to the fewest tokens of its batch, first rows first: that
is the trainer's `batching: truncate_first`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Grid,
    GridRefusedError,
    Mask,
    Promises,
    check_range,
)
from maskers.geometry import EDGES, cross, mark_interval

TRIES = 20  # before one more target may be overlapped


@dataclass(frozen=True, kw_only=True)
class LegacyMultiBlock(AbstractMasker):
    """Hides rectangles from a context rectangle as I-JEPA's code does; see `MultiBlock`.

    Meant for grids of 80 patches or more, on five rows or more: on most smaller ones the published
    code never ends, and what is drawn in its place shows much of what it asks for. A sample whose
    context had to overlap a target is counted as a fallback, and a plan warns of it. Refuses a
    grid of one row or column.
    """

    num_targets: int = 4
    target_area: tuple[float, float] = (0.15, 0.20)  # share of the grid, before sides are cut
    target_aspect: tuple[float, float] = (0.75, 1.50)  # height over width, in patches
    context_area: tuple[float, float] = (0.85, 1.00)  # share of the grid, before sides are cut
    min_keep: int = 10  # a context holds more patches than that, unless tries run out

    def __post_init__(self) -> None:
        if self.num_targets < 1:
            raise ValueError(f"`num_targets` must be at least 1; got {self.num_targets}")
        if self.min_keep < 0:
            raise ValueError(f"`min_keep` is a number of patches; got {self.min_keep}")
        check_range("target_area", self.target_area, low=0, high=1)
        check_range("target_aspect", self.target_aspect, low=0.01, high=100)
        check_range("context_area", self.context_area, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(0.0, self.context_area[1]),
            overlap=True,
            coupled=True,
            uneven=EDGES,
            unvisited="the published positions leave out the last row and the last column",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid = clips.grid
        if min(grid.freq, grid.time) < 2:
            raise GridRefusedError(
                f"the published blocks are smaller than the grid on both axes, and {grid} has "
                "one row or column; use MultiBlock"
            )
        columns = clips.num_columns
        size = _draw_size(grid, self.target_area, self.target_aspect, generator)
        targets = _place_blocks(
            grid, size, columns.unsqueeze(1).expand(-1, self.num_targets), generator
        )
        size = _draw_size(grid, self.context_area, (1.0, 1.0), generator)
        return self._draw_context(grid, size, columns, targets, generator)

    def _draw_context(
        self,
        grid: Grid,
        size: tuple[int, int],
        columns: Tensor,
        targets: Tensor,
        generator: torch.Generator,
    ) -> Mask:
        context = torch.zeros(len(columns), grid.size, dtype=torch.bool)
        pending, overlapping = torch.arange(len(columns)), torch.zeros(len(columns)).bool()
        last = TRIES * (self.num_targets + 1) - 1
        for attempt in range(last + 1):
            heeded = self.num_targets - attempt // TRIES
            block = _place_blocks(grid, size, columns[pending], generator)
            block &= ~targets[pending, :heeded].any(dim=1)
            found = (block.sum(dim=1) > self.min_keep) | (attempt == last)
            context[pending[found]] = block[found]
            overlapping[pending[found]] = heeded < self.num_targets
            pending = pending[~found]
            if len(pending) == 0:
                break
        return Mask(context, targets, overlapping)


def _draw_size(
    grid: Grid,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int]:
    """Draws one height and width for the batch; one number decides area and aspect both."""
    draw = torch.rand((), generator=generator).item()
    patches = int(grid.size * (area[0] + draw * (area[1] - area[0])))
    ratio = aspect[0] + draw * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(patches * ratio)), round(math.sqrt(patches / ratio))
    return max(min(height, grid.freq - 1), 1), max(min(width, grid.time - 1), 1)


def _place_blocks(
    grid: Grid, size: tuple[int, int], columns: Tensor, generator: torch.Generator
) -> Tensor:
    """Places blocks of one size in clips of so many `columns`, bool (*columns' shape, patches)."""
    height = torch.full(columns.shape, size[0])
    width = torch.minimum(torch.tensor(size[1]), columns - 1).clamp(min=1)
    places = torch.rand((2, *columns.shape), generator=generator)
    top = (places[0] * (grid.freq - height)).floor()  # the reference's range, short by one
    left = (places[1] * (columns - width)).floor()
    return cross(mark_interval(grid.freq, top, height), mark_interval(grid.time, left, width))
