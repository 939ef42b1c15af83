"""Block masking: hide a few rectangles and predict each from what lies around them.

Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding Predictive
Architecture", CVPR 2023, sec. 3. https://arxiv.org/abs/2301.08243
Unlike the reference code: sizes are drawn per sample, area and aspect independently and
relative to the grid (a spectrogram of 8x64 patches is no square image); a block may touch the
last row and column; no context is cut to the poorest of the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.masking import (
    AbstractMasker,
    Grid,
    Mask,
    Promises,
    all_valid,
    check_range,
    leave_visible,
    rectangles,
)


@dataclass(frozen=True, kw_only=True)
class MultiBlock(AbstractMasker):
    """Hides `num_targets` rectangles, which may overlap, from one large context rectangle."""

    num_targets: int = 4
    target_area: tuple[float, float] = (0.15, 0.20)  # share of the clip, per block
    target_aspect: tuple[float, float] = (0.75, 1.50)  # height over width, as shares of their axes
    context_area: tuple[float, float] = (0.85, 1.00)

    def __post_init__(self) -> None:
        if self.num_targets < 1:
            raise ValueError(f"`num_targets` must be at least 1; got {self.num_targets}")
        _, largest = check_range("target_area", self.target_area, low=0, high=1)
        check_range("target_aspect", self.target_aspect, low=0.01, high=100)
        least, _ = check_range("context_area", self.context_area, low=0, high=1)
        if self.num_targets * largest >= 1:
            raise ValueError(
                f"{self.num_targets} blocks of up to {largest:.0%} could hide the whole clip; "
                "lower `num_targets` or `target_area`"
            )
        if least == 0:
            raise ValueError("`context_area` from 0 % could show nothing; raise its lower end")

    @property
    def promises(self) -> Promises:
        least, most = self.context_area
        hidden = self.num_targets * self.target_area[1]
        return Promises(
            context=(max(0.0, least - hidden), most - self.target_area[0]),
            uneven="a rectangle has fewer places at the edges than in the middle",
        )

    def __call__(
        self,
        grid: Grid,
        batch: int,
        *,
        generator: torch.Generator,
        progress: float = 0.0,
        valid: Tensor | None = None,
        content: Tensor | None = None,
    ) -> Mask:
        valid = all_valid(grid, batch, valid)
        targets = rectangles(
            grid,
            (batch, self.num_targets),
            area=self.target_area,
            aspect=self.target_aspect,
            valid=valid,
            generator=generator,
        )
        context = rectangles(
            grid,
            (batch,),
            area=self.context_area,
            aspect=(1.0, 1.0),
            valid=valid,
            generator=generator,
        )
        least = torch.ones(batch, dtype=torch.long)
        return leave_visible(context, targets, valid=valid, least=least, generator=generator)
