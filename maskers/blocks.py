"""Block masking: hides a few rectangles and predicts them from their surroundings.

`MultiBlock`: Assran et al., "Self-Supervised Learning from Images with a Joint-Embedding
Predictive Architecture", CVPR 2023, sec. 3. https://arxiv.org/abs/2301.08243
Unlike the reference code: sizes are drawn per sample, area and aspect independently and
relative to the grid (a spectrogram of 8x64 patches is not a square image); a block may touch the
last row and column; no context is cut to the shortest of the batch. `LegacyMultiBlock` is the
published draw.

`UnionComplement`: Bardes et al., "Revisiting Feature Prediction for Learning Visual
Representations from Video", TMLR 2024, sec. 3.2. https://arxiv.org/abs/2404.08471
Unlike the reference code, unless `as_in_reference_code`: sizes are drawn per sample unless
`sizes: batch`, relative to the grid, the aspect log-uniformly. Blocks of 0.7 of 8x64 patches then
cover more than theirs, which are square in patches and so at most 8 by 19. Unlike it in either
case: a clip that its blocks cover completely is redrawn a few times only, and no mask is cut to the
fewest patches of a device's clips, which is `EqualCounts`.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import draw_rectangles, draw_uniform, leave_visible
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, check_range
from maskers.composition import get_fallback
from maskers.geometry import EDGES, cross, draw_sides, mark_covered, place_rectangles, show_rest

REDRAWS = 10  # limit for clips that are covered completely


@dataclass(frozen=True, kw_only=True)
class MultiBlock(AbstractMasker):
    """Hides rectangles, which may overlap, from one large context rectangle.

    The defaults are those of I-JEPA. The block variant of Audio-JEPA (Tuncay et al., 2025,
    https://arxiv.org/abs/2507.02915; configs/masks/multiblock.yaml) is `num_targets: 3,
    target_aspect: [0.5, 2.0], context_area: [0.8, 1.0]`. If the rectangles leave no context, blocks
    are dropped or the context rectangle is given up, and the sample is marked as a fallback.

    Args:
        num_targets: Number of target blocks.
        target_area: Range of the share of a clip per block.
        target_aspect: Range of height over width of a block, each as a share of its axis.
        context_area: Range of the share of a clip in the context, before targets are removed.

    Example:
        masker: {type: maskers.MultiBlock, num_targets: 4, target_area: [0.15, 0.2]}
    """

    num_targets: int = 4
    target_area: tuple[float, float] = (0.15, 0.20)
    target_aspect: tuple[float, float] = (0.75, 1.50)
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
            uneven=EDGES,
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        batch, valid = clips.batch, clips.valid
        targets = draw_rectangles(
            clips,
            (batch, self.num_targets),
            area=self.target_area,
            aspect=self.target_aspect,
            generator=generator,
        )
        context = draw_rectangles(
            clips,
            (batch,),
            area=self.context_area,
            aspect=(1.0, 1.0),
            generator=generator,
        )
        least = torch.ones(batch, dtype=torch.long)
        return leave_visible(context, targets, valid=valid, least=least, generator=generator)


@dataclass(frozen=True, kw_only=True)
class UnionComplement(AbstractMasker):
    """Hides what a few rectangles cover together, as one target; the rest is the context.

    The defaults are the many small blocks of V-JEPA; its few large ones are `num_blocks: 2, area:
    0.7`. V-JEPA draws both for every clip: combine the two with `MultiMask`.

    Args:
        num_blocks: Number of rectangles.
        area: Share of a clip per rectangle. From a pair, it is drawn uniformly.
        aspect: Range of height over width of a rectangle, each as a share of its axis.
        sizes: Whether the rectangles of a sample, or of the whole batch, share one size, or every
            one (`block`) has its own.
        as_in_reference_code: As in the code of V-JEPA: one size per batch, the aspect uniform and
            in patches (1 is a square of patches), and what exceeds the grid is cut off.

    Example:
        masker: {type: maskers.UnionComplement, num_blocks: 8, area: 0.15}
    """

    num_blocks: int = 8
    area: float | tuple[float, float] = 0.15
    aspect: tuple[float, float] = (0.75, 1.50)
    sizes: Literal["sample", "batch", "block"] = "sample"
    as_in_reference_code: bool = field(default=False, metadata={"as_before": False})

    def __post_init__(self) -> None:
        if self.num_blocks < 1:
            raise ValueError(f"`num_blocks` must be at least 1; got {self.num_blocks}")
        least, most = check_range("area", self.area, low=0, high=1)
        check_range("aspect", self.aspect, low=0.01, high=100)
        if least == 0 or most == 1:
            raise ValueError(f"`area` {self.area} hides nothing or everything; stay inside (0, 1)")
        if self.as_in_reference_code and self.sizes == "block":
            raise ValueError(
                "`sizes: block` is not in the reference code, whose blocks share one size; leave "
                "out `as_in_reference_code` or `sizes`"
            )

    @property
    def _share_sizes(self) -> bool:
        return self.as_in_reference_code or self.sizes == "batch"

    @property
    def promises(self) -> Promises:
        least, most = check_range("area", self.area, low=0, high=1)
        thinnest = least / max(self.aspect[1], 1 / self.aspect[0])  # square of the shorter side
        middle = "blocks of more than half the height and width always cover the middle"
        return Promises(
            context=(
                max(0.0, 1 - self.num_blocks * most),
                1.0 if self.as_in_reference_code else 1 - least,
            ),
            coupled=self._share_sizes,
            uneven=EDGES,
            unvisited=middle if least > 0.5 or thinnest > 0.25 else "",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        columns = clips.num_columns.unsqueeze(1)
        num_sizes = self.num_blocks if self.sizes == "block" else 1
        draw = _draw_reference_sides if self.as_in_reference_code else draw_sides
        height, width = draw(
            grid,
            (1 if self._share_sizes else batch, num_sizes),
            area=check_range("area", self.area, low=0, high=1),
            aspect=self.aspect,
            columns=columns,
            generator=generator,
        )
        hidden = torch.zeros(batch, grid.size, dtype=torch.bool)
        pending = torch.arange(batch)
        for _ in range(REDRAWS):
            rows, times = place_rectangles(
                grid,
                (len(pending), self.num_blocks),
                height=height[pending],
                width=width[pending],
                columns=columns[pending],
                generator=generator,
            )
            hidden[pending] = mark_covered(rows, times)
            is_covered = (hidden[pending] == valid[pending]).all(dim=1)
            pending = pending[is_covered]
            if len(pending) == 0:
                break
        else:
            hidden[pending] = cross(rows[is_covered, 0], times[is_covered, 0])  # one block only
        mask = show_rest(hidden.unsqueeze(1), valid=valid, generator=generator)
        return Mask(mask.context, mask.targets, get_fallback(mask).index_fill(0, pending, 1))


def _draw_reference_sides(
    grid: Grid,
    shape: tuple[int, ...],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    columns: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draws heights and widths as the code of V-JEPA does: in patches, cut off at the grid."""
    share = draw_uniform(shape, *area, generator)
    ratio = draw_uniform(shape, *aspect, generator)
    cells = (grid.freq * columns * share.double() + 1e-4).floor()  # 1e-4: as shares in double
    height = (cells * ratio).sqrt().round().clamp(1, grid.freq)
    width = (cells / ratio).sqrt().round().clamp(min=1).minimum(columns)
    return height, width
