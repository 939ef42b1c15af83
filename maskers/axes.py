"""Time-frequency-aware masking: what shares a target's time or frequency is hidden, too.

Fei, Fan and Huang, "A-JEPA: Joint-Embedding Predictive Architecture Can Listen", 2023.
https://arxiv.org/abs/2311.15830
No code was published, and the text leaves open whether the targets' rows, columns or both are
taken from the context. Both, with blocks square in patches, would empty half of all contexts on
8x64 patches; so the axes are a setting here, blocks are sized relative to the grid, and a guard
keeps a least context. No number of the paper is claimed. The words taken literally are
`TimeFrequency(axes="both", units="patches").literal`.
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
    """Hides small blocks and takes all that shares their time or frequency from the context.

    Where that would leave less than `min_context` visible, the sample falls back: from both axes
    to time alone, from one axis to the blocks alone, and at last to fewer blocks.
    """

    axes: Axes = "time"
    num_targets: int = 3
    target_area: tuple[float, float] = (0.05, 0.075)  # share of the clip, per block
    target_aspect: tuple[float, float] = (0.75, 1.50)  # height over width, in `units`
    context_area: tuple[float, float] = (0.85, 1.00)  # share of the clip, before targets are taken
    min_context: float = 0.15  # share of the clip; 0 guards against empty contexts only
    units: Units = field(default="grid", metadata={"as_before": "grid"})  # shares of axes, or not

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
        visible, asked = context, context
        for removed in _list_removals(grid, targets.any(dim=1), self.axes):
            asked = context & ~removed
            visible = torch.where((asked.sum(dim=1) >= least).unsqueeze(-1), asked, visible)
        mask = leave_visible(visible, targets, valid=valid, least=least, generator=generator)
        return Mask(mask.context, mask.targets, (mask.context != asked).any(dim=1))

    def draw_literal(self, clips: Clips, generator: torch.Generator) -> Mask:
        """Draws the masks of `batch` whole clips that the guard would judge.

        Their contexts may be empty: what the paper's words give, to be measured, not trained with.
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
    """Lists what to take from the context, from the blocks alone up to all that is asked."""
    cells = hidden.view(-1, grid.freq, grid.time)
    columns = cells.any(dim=1, keepdim=True).expand_as(cells).flatten(1)
    rows = cells.any(dim=2, keepdim=True).expand_as(cells).flatten(1)
    spans = {"time": [columns], "freq": [rows], "both": [columns, rows | columns]}
    return [hidden, *spans[axes]]
