"""Time-frequency-aware masking: hides blocks and whatever shares their time or frequency.

Fei, Fan and Huang, "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
https://arxiv.org/abs/2311.15830
No code was published, and the text leaves open whether the rows of the targets, their columns or
both are removed from the context. Both, with blocks that are square in patches, would empty half of
all contexts on 8x64 patches. So the axes are a setting here, blocks are sized relative to the grid,
and a guard keeps a minimal context. We claim no number of the paper. The text taken literally is
`TimeFrequency(axes="both", units="patches").draw_literal`.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import draw_rectangles, leave_visible, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, check_range
from maskers.geometry import EDGES, Units, cross, draw_sides, place_rectangles

Axes = Literal["time", "freq", "both"]


@dataclass(frozen=True, kw_only=True)
class TimeFrequency(AbstractMasker):
    """Hides small blocks, and removes what shares their time or frequency from the context.

    If that leaves less than `min_context` visible, a sample falls back: from both axes to time,
    from one axis to the blocks themselves, and finally to fewer blocks.

    Args:
        axes: Remove the columns of the blocks (`time`), their rows (`freq`), or both.
        num_targets: Number of target blocks.
        target_area: Range of the share of a clip per block.
        target_aspect: Range of height over width of a block, in `units`.
        context_area: Range of the share of a clip in the context, before anything is removed.
        min_context: Least share of a clip that stays visible; 0 only prevents empty contexts.
        units: Compare height and width as shares of their axes (`grid`) or in `patches`.

    Example:
        masker: {type: maskers.TimeFrequency, axes: time, num_targets: 3}
    """

    axes: Axes = "time"
    num_targets: int = 3
    target_area: tuple[float, float] = (0.05, 0.075)
    target_aspect: tuple[float, float] = (0.75, 1.50)
    context_area: tuple[float, float] = (0.85, 1.00)
    min_context: float = 0.15
    units: Units = field(default="grid", metadata={"as_before": "grid"})

    def __post_init__(self) -> None:
        if self.num_targets < 1:
            raise ValueError(f"`num_targets` must be at least 1; got {self.num_targets}")
        _, largest = check_range("target_area", self.target_area, low=0, high=1)
        check_range("target_aspect", self.target_aspect, low=0.01, high=100)
        least, _ = check_range("context_area", self.context_area, low=0, high=1)
        check_range("min_context", self.min_context, low=0, high=1)
        if least - self.num_targets * largest < self.min_context:
            raise ValueError(
                f"{self.num_targets} blocks of up to {largest:.0%} can leave less than "
                f"`min_context` {self.min_context:.0%} of a context of {least:.0%}; "
                "lower `num_targets`, `target_area` or `min_context`"
            )

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(self.min_context, self.context_area[1] - self.target_area[0]),
            uneven=EDGES,
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        context, targets = self._draw_blocks(clips, generator)
        least = round_share(clips.num_valid, self.min_context)
        visible, requested = context, context
        for removed in _list_removals(grid, targets.any(dim=1), self.axes):
            requested = context & ~removed
            visible = torch.where((requested.sum(dim=1) >= least).unsqueeze(-1), requested, visible)
        mask = leave_visible(visible, targets, valid=valid, least=least, generator=generator)
        return Mask(mask.context, mask.targets, (mask.context != requested).any(dim=1))

    def draw_literal(self, clips: Clips, generator: torch.Generator) -> Mask:
        """Draws masks without the guard, as the text of the paper describes them.

        Contexts may be empty: for measurements, not for training.
        """
        context, targets = self._draw_blocks(clips, generator)
        return Mask(
            context & ~_list_removals(clips.grid, targets.any(dim=1), self.axes)[-1], targets
        )

    def _draw_blocks(self, clips: Clips, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws the context block and the target blocks of every sample."""
        grid, batch = clips.grid, clips.batch
        if self.units == "grid":
            targets = draw_rectangles(
                clips,
                (batch, self.num_targets),
                area=self.target_area,
                aspect=self.target_aspect,
                generator=generator,
            )
        else:
            shape, columns = (batch, self.num_targets), clips.num_columns.unsqueeze(1)
            height, width = draw_sides(
                grid,
                shape,
                area=self.target_area,
                aspect=self.target_aspect,
                columns=columns,
                generator=generator,
                units="patches",
            )
            targets = cross(
                *place_rectangles(
                    grid, shape, height=height, width=width, columns=columns, generator=generator
                )
            )
        context = draw_rectangles(
            clips,
            (batch,),
            area=self.context_area,
            aspect=(1.0, 1.0),
            generator=generator,
        )
        return context, targets


def _list_removals(grid: Grid, hidden: Tensor, axes: Axes) -> list[Tensor]:
    """Lists what to remove from the context: the blocks, then also what `axes` requests."""
    cells = hidden.view(-1, grid.freq, grid.time)
    columns = cells.any(dim=1, keepdim=True).expand_as(cells).flatten(1)
    rows = cells.any(dim=2, keepdim=True).expand_as(cells).flatten(1)
    spans = {"time": [columns], "freq": [rows], "both": [columns, rows | columns]}
    return [hidden, *spans[axes]]
