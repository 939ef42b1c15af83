"""The mask collator of I-JEPA as published, including its faults, for comparison with its numbers.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023. https://arxiv.org/abs/2301.08243
https://github.com/facebookresearch/ijepa/blob/52c1ae9/src/masks/multiblock.py
Kept: one target size and one context size for the whole batch; one random number for both scale and
aspect of a block; sizes in patches whatever the shape of the grid, shortened to less than the grid;
a block never reaches the last row or column; after 20 tries the context may overlap a target.
Unlike the reference code: it ends. The reference redraws a block until it has more than `min_keep`
patches. By default a target, a fifth of the grid at most, never does on two rows of up to 276
columns or on fewer than 48 patches; in some batches none does on most grids of up to 78 (8x8: in
half of them), on three rows of up to 76 columns and on four of up to 23. There the reference never
ends. Here a target stays as small as it is drawn, and the context takes its last try, even if that
consists of targets only: on 4x8, 93 of 100 do, and nearly half of what they show is predicted. The
collator also cuts every sample to the fewest tokens of its batch, first rows first: that is
`batching: truncate_first` of the trainer.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import (
    AbstractMasker,
    Clips,
    Grid,
    Mask,
    Promises,
    UnsupportedGridError,
    check_range,
)
from maskers.geometry import EDGES, cross, mark_interval

TRIES = 20  # to place the context, before one more target may be overlapped


@dataclass(frozen=True, kw_only=True)
class LegacyMultiBlock(AbstractMasker):
    """Hides rectangles from a context rectangle like the code of I-JEPA; see `MultiBlock`.

    For grids of at least 80 patches and five rows: on most smaller ones the published code never
    ends, and the masks drawn here instead show much of what is to be predicted. A sample whose
    context had to overlap a target is marked as a fallback, and a plan warns about it. A grid of
    one row or column is refused.

    Args:
        num_targets: Number of target blocks.
        target_area: Range of the share of the grid per block, before sides are shortened.
        target_aspect: Range of height over width of a block, in patches.
        context_area: Range of the share of the grid in the context, before sides are shortened.
        min_keep: A context has more patches than this, unless all tries fail.

    Example:
        masker: {type: maskers.LegacyMultiBlock, num_targets: 4}
    """

    num_targets: int = 4
    target_area: tuple[float, float] = (0.15, 0.20)
    target_aspect: tuple[float, float] = (0.75, 1.50)
    context_area: tuple[float, float] = (0.85, 1.00)
    min_keep: int = 10

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
            raise UnsupportedGridError(
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
            num_avoided = self.num_targets - attempt // TRIES
            block = _place_blocks(grid, size, columns[pending], generator)
            block &= ~targets[pending, :num_avoided].any(dim=1)
            accepted = (block.sum(dim=1) > self.min_keep) | (attempt == last)
            context[pending[accepted]] = block[accepted]
            overlapping[pending[accepted]] = num_avoided < self.num_targets
            pending = pending[~accepted]
            if len(pending) == 0:
                break
        return Mask(context, targets, overlapping)


def _draw_size(
    grid: Grid,
    area: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> tuple[int, int]:
    """Draws one height and width for the batch; area and aspect depend on one random number."""
    draw = torch.rand((), generator=generator).item()
    patches = int(grid.size * (area[0] + draw * (area[1] - area[0])))
    ratio = aspect[0] + draw * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(patches * ratio)), round(math.sqrt(patches / ratio))
    return max(min(height, grid.freq - 1), 1), max(min(width, grid.time - 1), 1)


def _place_blocks(
    grid: Grid, size: tuple[int, int], columns: Tensor, generator: torch.Generator
) -> Tensor:
    """Places blocks of one size in clips with `columns` columns, bool (*columns.shape, patches)."""
    height = torch.full(columns.shape, size[0])
    width = torch.minimum(torch.tensor(size[1]), columns - 1).clamp(min=1)
    places = torch.rand((2, *columns.shape), generator=generator)
    # the last position is missing, as in the reference code
    top = (places[0] * (grid.freq - height)).floor()
    left = (places[1] * (columns - width)).floor()
    return cross(mark_interval(grid.freq, top, height), mark_interval(grid.time, left, width))
