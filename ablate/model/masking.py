"""The masking contract: a masker says which patches are seen and which are to be predicted.

A mask is membership, with names: `mask.context` and `mask.targets`, where True means *belongs
to*. Maskers, ours or a stranger's, know this module, torch and einops, and nothing else.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """The patches of a clip, counted per axis; patch `i` lies at (`i // time`, `i % time`)."""

    freq: int
    time: int

    @property
    def size(self) -> int:
        """How many patches there are."""
        return self.freq * self.time

    def __str__(self) -> str:
        return f"{self.freq}x{self.time}"


@dataclass(frozen=True)
class Mask:
    """Which patches of each sample belong to the context, and which to each target block.

    A sample with fewer blocks than its batch leaves the rest of its `blocks` axis empty. A
    masker that draws several masks per clip counts each as a sample: `batch` is then clips times
    copies. All lies on the CPU.
    """

    context: Tensor  # bool (batch, patches)
    targets: Tensor  # bool (batch, blocks, patches)
    fallback: Tensor | None = None  # bool (batch,): a guard changed the mask; None: not told

    @property
    def target_union(self) -> Tensor:
        """Every patch that is in some target block, bool (batch, patches)."""
        return union(self.targets)


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What a masker declares about its masks, for `check_masker` and for the trainer."""

    context: tuple[float, float]  # least and greatest share of valid patches that are visible
    exact: bool = False  # the share is `context` itself, to the nearest patch
    overlap: bool = False  # a patch may be both context and target
    coupled: bool = False  # samples share sizes or masks: draw for the global batch
    copies: int = 1  # masks per clip; those of one clip lie side by side in the batch
    needs: Literal["patches", "features"] | None = None  # the `content` it must be given
    uneven: str = ""  # why some patch is context or target under half or over twice the mean
    unvisited: str = ""  # why some patch is never context, or never a target
    slow: str = ""  # why drawing takes far longer than sorting as many random numbers


class GridRefusedError(ValueError):
    """A masker cannot work on this grid; the message says why and what would do."""


class AbstractMasker(ABC):
    """Draws masks. Subclasses are frozen keyword-only dataclasses: their fields are settings.

    The promises to keep, on every grid of two patches or more that is not refused, for every
    sample with at least two valid patches:

    - the context and at least one target block hold a patch; none holds padding;
    - context and targets are disjoint, unless `promises.overlap`;
    - all chance comes from `generator`, and work is bounded;
    - samples are independent of one another, unless `promises.coupled`;
    - on a whole clip every patch is context, and is a target, at least half as often as the
      mean patch and at most twice as often, unless `promises.uneven` says why not.
    """

    @property
    @abstractmethod
    def promises(self) -> Promises:
        """What this masker declares about its masks."""

    @abstractmethod
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
        """Draws `promises.copies` masks for each of `batch` clips, side by side, on the CPU.

        `progress` in [0, 1] is the share of training done. `valid`, bool (batch, patches), marks
        real patches: a clip's padding is a tail of whole time columns, and shares count valid
        patches only; None means that all are real. `content`, float (batch, patches, dim), holds
        what `promises.needs` names: patches, or features of the probed encoder. Raises
        `GridRefusedError` for a grid that it cannot serve, `ValueError` without needed content.
        """


def union(members: Tensor) -> Tensor:
    """Joins bool (batch, blocks, patches) to (batch, patches); `any` takes 30 times as long."""
    return members.view(torch.uint8).amax(dim=1).bool()


def both(one: Tensor, other: Tensor) -> Tensor:
    """Broadcasts `one & other`, of bools; a product of bytes takes a tenth of the time."""
    return (one.view(torch.uint8) * other.view(torch.uint8)).view(torch.bool)


def all_valid(grid: Grid, batch: int, valid: Tensor | None) -> Tensor:
    """Returns `valid`, or all True where there is no padding, bool (batch, patches)."""
    return torch.ones(batch, grid.size, dtype=torch.bool) if valid is None else valid


def share_of(count: Tensor, share: float | Tensor) -> Tensor:
    """Rounds a share of `count` patches, int64 (...), leaving at least one on either side.

    Of one patch it is that one.
    """
    return (count * share).round().long().clamp(min=1).minimum((count - 1).clamp(min=1))


def choose(number: Tensor, *, among: Tensor, generator: torch.Generator) -> Tensor:
    """Chooses exactly `number` (...) of the patches marked in `among`, uniformly.

    `among` is bool (..., patches), and so is what is returned; where fewer are marked than asked
    for, all of them are chosen.
    """
    return lowest(number, torch.rand(among.shape, generator=generator), among=among)


def lowest(number: Tensor, scores: Tensor, *, among: Tensor) -> Tensor:
    """Takes exactly the `number` (...) lowest `scores` of the patches marked in `among`.

    Scores are float (..., patches), `among` and what is returned bool of that shape; where fewer
    are marked than asked for, all are taken. Of equal scores the first are taken: one row of 512
    random floats in 30,000 has a tie where it matters. Sorting values and comparing with one of
    them is many times faster than an argsort, and numpy sorts rows as short as these many times
    faster than torch.
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


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draws float32 of a shape uniformly from [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def rectangles(
    grid: Grid,
    shape: tuple[int, ...],
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
    valid: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draws solid rectangles inside the valid part of the grid, bool (*shape, patches).

    `shape` begins with the batch, and `valid` is bool (batch, patches). `area`, drawn uniformly
    from its range, is the share of a sample's valid patches; `aspect`, drawn log-uniformly, is
    height over width, both as shares of their axes, so that a thin grid gets thin blocks and the
    area is kept. The width is derived from the *rounded* height: on one row, deriving both alike
    would inflate every block. On two or three columns the area is kept but for that rounding: of
    0.175 two may make 0.22. Each position is equally likely, edges included.
    """
    columns = valid.view(-1, grid.freq, grid.time)[:, 0].sum(dim=1)
    columns = columns.view(-1, *[1] * (len(shape) - 1)).clamp(min=1)
    share = uniform(shape, *area, generator)
    log_aspect = torch.tensor(aspect).log()
    ratio = uniform(shape, log_aspect[0].item(), log_aspect[1].item(), generator).exp()
    cells = share * grid.freq * columns

    height = (share * ratio).sqrt().mul(grid.freq).round().clamp(1, grid.freq)
    wished = (cells / height).round()
    width = wished.clamp(min=1).minimum(columns)
    refitted = (cells / width).round().clamp(1, grid.freq)
    height = torch.where(width == wished, height, refitted)  # only where the width was clamped

    top = (torch.rand(shape, generator=generator) * (grid.freq - height + 1)).floor()
    left = (torch.rand(shape, generator=generator) * (columns - width + 1)).floor()
    rows = torch.arange(grid.freq)
    times = torch.arange(grid.time)
    in_rows = (rows >= top.unsqueeze(-1)) & (rows < (top + height).unsqueeze(-1))
    in_times = (times >= left.unsqueeze(-1)) & (times < (left + width).unsqueeze(-1))
    return both(in_rows.unsqueeze(-1), in_times.unsqueeze(-2)).flatten(-2)


def leave_visible(
    context: Tensor,
    targets: Tensor,
    *,
    valid: Tensor,
    least: Tensor,
    generator: torch.Generator,
) -> Mask:
    """Removes the targets from the context, giving up target blocks that would empty it.

    `context` and `valid` are bool (batch, patches), `targets` bool (batch, blocks, patches). The
    first block is kept; each after it is kept if beside those kept so far it leaves at least
    `least` (batch,) patches of the context visible. Where the first alone covers the context, the
    patches around it become the context; where it covers the whole clip, one of its patches does.
    Samples that had to be changed so are marked in the mask's `fallback`.
    """
    least = least.clamp(min=1)
    hidden = union(targets)
    if ((context & ~hidden).sum(dim=1) >= least).all():
        return Mask(context & ~hidden, targets, torch.zeros(len(context), dtype=torch.bool))
    hidden = torch.zeros_like(context)
    kept: list[Tensor] = []
    for block in targets.unbind(dim=1):  # a handful: a running union beats `cumsum` of bools
        more = hidden | block
        enough = (context & ~more).sum(dim=1) >= least
        kept.append(enough if kept else torch.ones_like(enough))
        hidden = hidden | both(block, kept[-1].unsqueeze(1))
    all_kept = torch.stack(kept, dim=1)
    targets = both(targets, all_kept.unsqueeze(-1))
    context = context & ~hidden

    empty = context.sum(dim=1) == 0
    if empty.any():
        around = valid & ~union(targets)
        context = torch.where(empty.unsqueeze(-1), around, context)
        whole = ~context.any(dim=1)
        given_up = choose(whole.long(), among=targets[:, 0], generator=generator)
        context = context | given_up
        targets = targets & ~given_up.unsqueeze(1)
    return Mask(context, targets, empty | ~all_kept.all(dim=1))


def check_range(
    name: str, value: float | tuple[float, float], *, low: float, high: float
) -> tuple[float, float]:
    """Returns a setting, a number or an ordered pair, as a pair.

    Raises `ValueError`, naming the setting, where it leaves [low, high] or is not in order.
    """
    pair = value if isinstance(value, tuple) else (value, value)
    if not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"`{name}` must lie in [{low:g}, {high:g}], lower end first; got {value}")
    return pair
