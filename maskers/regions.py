"""Masking by regions that grow from small pieces until an exact number of patches is reached.

`InverseBlock`: Baevski et al., "Efficient Self-supervised Learning with Contextualized Target
Representations for Vision, Speech and Language" (data2vec 2.0), ICML 2023, sec. 3.2.
https://arxiv.org/abs/2212.07525
with the settings of Chen et al., "EAT: Self-Supervised Pre-Training with Efficient Audio
Transformer", IJCAI 2024. https://arxiv.org/abs/2401.03497
Unlike the reference code: flexible shapes are drawn per sample, and centred.

`Clusters`: Gong et al., "SSAST: Self-Supervised Audio Spectrogram Transformer", AAAI 2022,
sec. 2.2. https://arxiv.org/abs/2110.09784
Unlike the reference code, unless `legacy`: squares extend over every edge, so that all patches are
hidden equally often; none continues in the next row; surplus patches are those of the last square.

`BlockWise`: Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, algorithm 1.
https://arxiv.org/abs/2106.08254
Unlike the reference code, unless `as_in_reference_code`: the count is exact, because single patches
complete it, and a block may be as high as the grid.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ablate.model.mask_loops import cover_with_rectangles
from ablate.model.mask_sampling import choose, choose_lowest, draw_uniform, round_share
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask, Promises, check_range
from maskers.geometry import (
    EDGES,
    cross,
    mark_covered,
    mark_interval,
    place_rectangles,
)
from maskers.sampling import check_ratio, hide_rest

ATTEMPTS = 10  # rectangles in a row that may not fit, in the code of BEiT


@dataclass(frozen=True, kw_only=True)
class InverseBlock(AbstractMasker):
    """Shows squares around a few random centres, and hides the rest.

    Single patches are then shown or hidden at random until the count is exact. There is always at
    least one centre, also if less than a square is shown: with the settings of EAT on fewer than 93
    patches, where its code has none and shows single patches. The flexible masks of EAT are
    `shapes: [[4, 6], [5, 5], [3, 8]]`.

    Args:
        ratio: Share of patches hidden.
        length: Side of a visible square, in patches.
        adjust: Share shown on top of 1 - `ratio`, because squares overlap and are cut at edges.
        shapes: Pairs of rows and columns, used instead of `length`; one is drawn for each sample.

    Example:
        masker: {type: maskers.InverseBlock, ratio: 0.8, length: 5}
    """

    ratio: float = 0.8
    length: int = 5
    adjust: float = 0.07
    shapes: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("adjust", self.adjust, low=0, high=1)
        if any(len(shape) != 2 or min(shape) < 1 for shape in self._shapes):
            raise ValueError(
                f"`shapes` must be pairs of sides of at least 1 patch; got {list(self._shapes)}"
            )

    @property
    def _shapes(self) -> tuple[tuple[int, int], ...]:
        return self.shapes or ((self.length, self.length),)

    @property
    def promises(self) -> Promises:
        share = 1 - self.ratio
        corners = "a patch at the edge is in fewer of the visible squares"
        return Promises(context=(share, share), exact=True, uneven=corners)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        count = clips.num_valid
        which = torch.randint(len(self._shapes), (batch,), generator=generator)
        shape = torch.tensor(self._shapes)[which]  # (batch, 2)
        area = shape.prod(dim=1)
        centres = (count * (1 - self.ratio + self.adjust) / area).long().clamp(min=1)

        most = int(centres.max())
        places = torch.rand((2, batch, most), generator=generator)
        middle = (shape // 2).unsqueeze(1)
        columns = clips.num_columns.unsqueeze(1)
        top = (places[0] * grid.freq).floor() - middle[..., 0]
        left = (places[1] * columns).floor() - middle[..., 1]
        rows = mark_interval(grid.freq, top, shape[:, :1])
        drawn = (torch.arange(most) < centres.unsqueeze(1)).unsqueeze(2)
        squares = mark_covered(rows & drawn, mark_interval(grid.time, left, shape[:, 1:]))

        keys = torch.rand((batch, grid.size), generator=generator) + ~squares
        context = choose_lowest(round_share(count, 1 - self.ratio), keys, among=valid)
        return hide_rest(context, valid)


@dataclass(frozen=True, kw_only=True)
class Clusters(AbstractMasker):
    """Hides squares until the count is reached; all squares of a sample have the same side.

    Args:
        ratio: Share of patches hidden; the default is 400 of 512.
        side: Least and greatest side of a square, in patches.
        legacy: As in the code of SSAST: a square is below and right of its start, continues in the
            next row at the end of one, and surplus patches are revealed at the end of the grid.

    Example:
        masker: {type: maskers.Clusters, ratio: 0.78125, side: [3, 5]}
    """

    ratio: float = 0.78125
    side: tuple[int, int] = (3, 5)
    legacy: bool = False

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if not 1 <= self.side[0] <= self.side[1]:
            raise ValueError(f"`side` must be 1 patch or more, lower end first; got {self.side}")

    @property
    def promises(self) -> Promises:
        share = 1 - self.ratio
        if not self.legacy:
            return Promises(context=(share, share), exact=True)
        return Promises(
            context=(share, share),
            exact=True,
            uneven="the first rows are in few squares, and the last patches are revealed",
            unvisited="the published code never hides the first patch",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, batch, valid = clips.grid, clips.batch, clips.valid
        number = round_share(clips.num_valid, self.ratio)
        low, high = self.side
        side = torch.randint(low, high + 1, (batch,), generator=generator)
        arrival = torch.empty(batch, grid.size)
        for size in range(low, high + 1):
            rows = (side == size).nonzero().squeeze(1)
            arrive = _draw_legacy_arrival if self.legacy else _draw_arrival
            arrival[rows] = arrive(grid, len(rows), size, generator)
        pick = _choose_first_patches if self.legacy else _choose_evenly
        hidden = pick(arrival, number, valid, generator)
        return Mask(valid & ~hidden, hidden.unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class BlockWise(AbstractMasker):
    """Hides rectangles of random area and aspect, one after another, until the count is reached.

    Args:
        ratio: Share of patches hidden.
        min_patches: Least area of a rectangle, while at least as many patches are to be hidden.
        aspect: Range of height over width of a rectangle, in patches.
        max_steps: Greatest number of rectangles; single patches complete the count.
        as_in_reference_code: As in the code of BEiT, masking ends after ten rectangles in a row
            that do not fit, so that a few patches less may be hidden (75 of 14x14: 70 to 75); no
            rectangle is as high or as wide as the grid.

    Example:
        masker: {type: maskers.BlockWise, ratio: 0.4, min_patches: 16}
    """

    ratio: float = 0.4
    min_patches: int = 16
    aspect: tuple[float, float] = (0.3, 3.33)
    max_steps: int = 50
    as_in_reference_code: bool = field(default=False, metadata={"as_before": False})

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        check_range("aspect", self.aspect, low=0.01, high=100)
        if min(self.min_patches, self.max_steps) < 1:
            raise ValueError(
                "`min_patches` and `max_steps` must be at least 1; "
                f"got {self.min_patches} and {self.max_steps}"
            )

    @property
    def promises(self) -> Promises:
        most = 1.0 if self.as_in_reference_code else 1 - self.ratio
        return Promises(
            context=(1 - self.ratio, most),
            exact=not self.as_in_reference_code,
            uneven=EDGES,
            slow="each rectangle depends on what those before it have hidden",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid, valid = clips.grid, clips.valid
        number = round_share(clips.num_valid, self.ratio)
        columns = clips.num_columns
        if self.as_in_reference_code:
            return self._draw_reference(clips, number, generator)
        hidden = torch.zeros_like(valid)
        for _ in range(self.max_steps):
            left = number - hidden.sum(dim=1)
            block = self._draw_block(grid, left, columns, generator) & ~hidden
            fits = block.sum(dim=1) <= left
            hidden |= block & fits.unsqueeze(1)
            if not (left > 0).any():
                break
        keys = torch.rand(valid.shape, generator=generator) - hidden.float()
        hidden = choose_lowest(number, keys, among=valid)
        return Mask(valid & ~hidden, hidden.unsqueeze(1))

    def _draw_reference(self, clips: Clips, number: Tensor, generator: torch.Generator) -> Mask:
        """Draws rectangles as the code of BEiT does; a sample without any hides one patch."""
        valid = clips.valid
        hidden = cover_with_rectangles(
            clips,
            number,
            least=self.min_patches,
            aspect=self.aspect,
            attempts=ATTEMPTS,
            max_steps=ATTEMPTS * self.max_steps,
            generator=generator,
        )
        empty = ~hidden.any(dim=1)
        hidden |= choose(empty.long(), among=valid, generator=generator)
        return Mask(valid & ~hidden, hidden.unsqueeze(1), empty)

    def _draw_block(
        self, grid: Grid, left: Tensor, columns: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draws one rectangle per sample, of at most as many patches as are left to hide."""
        least = left.clamp(max=self.min_patches)
        area = least + (left - least) * torch.rand(left.shape, generator=generator)
        logs = torch.tensor(self.aspect).log()
        ratio = draw_uniform(left.shape, logs[0].item(), logs[1].item(), generator).exp()
        height = (area * ratio).sqrt().round().clamp(1, grid.freq)
        width = (area / height).round().clamp(min=1).minimum(columns)
        return cross(
            *place_rectangles(
                grid,
                left.shape,
                height=height,
                width=width,
                columns=columns,
                generator=generator,
            )
        )


def _draw_arrival(grid: Grid, batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Draws when each patch is first covered by squares that arrive in random order."""
    shape = (batch, grid.freq + side - 1, grid.time + side - 1)
    starts = torch.rand(shape, generator=generator)
    return starts.unfold(1, side, 1).amin(dim=-1).unfold(2, side, 1).amin(dim=-1).flatten(1)


def _draw_legacy_arrival(grid: Grid, batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Like `_draw_arrival`, for squares that start on the grid and wrap from row to row."""
    before = (side - 1) * (grid.time + 1)
    starts = torch.rand((batch, grid.size), generator=generator)
    starts = torch.cat([torch.full((batch, before), 2.0), starts], dim=1)
    ends = [before - row * grid.time - column for row in range(side) for column in range(side)]
    arrival = torch.stack([starts[:, end : end + grid.size] for end in ends]).amin(dim=0)
    arrival[:, 0] = 2.0
    return arrival


def _choose_evenly(
    arrival: Tensor, number: Tensor, valid: Tensor, generator: torch.Generator
) -> Tensor:
    """Hides the patches that are covered first; of the last square, some at random."""
    ties = torch.rand(arrival.shape, generator=generator) * 1e-5
    return choose_lowest(number, arrival + ties, among=valid)


def _choose_first_patches(
    arrival: Tensor, number: Tensor, valid: Tensor, generator: torch.Generator
) -> Tensor:
    """Hides squares until they are more than enough, then reveals the last patches."""
    arrival = arrival.masked_fill(~valid, 2.0)
    last = arrival.sort(dim=1).values.gather(1, number.unsqueeze(1))  # one patch too many
    covered = (arrival <= last) & valid
    covered[:, 0] = False
    return covered & (covered.cumsum(dim=1) <= number.unsqueeze(1))
