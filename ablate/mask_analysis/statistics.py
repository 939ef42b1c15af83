"""What a masker's masks amount to, measured: how much, where, how far apart, how clustered.

Everything is counted on whole clips, over batches drawn in the course of one training, so that
a curriculum shows what it does on average.
"""

import dataclasses
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ablate.core.random import generator
from ablate.model.batching import Batching, is_cut, truncate
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask

BATCH = 64  # clips: the more, the more a truncating batch loses
BATCHES = 16  # spread over the course of training
COUPLED_BATCHES = 128  # where all samples of a batch are alike, so that batches are what counts
MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of training, at which a plan tries masks
DRAWS = 256  # masks at each
MOST_MASKS = 4096  # to be drawn for batches that are cut, unless `BATCHES` of them hold more


class Realised(NamedTuple):
    """What a masker's masks come to on a grid, as shares; the first two are of the grid."""

    context: float
    targets: float
    overlap: float  # of the context patches, those that are targets, too
    forced_overlap: float  # of the context patches, those of them in masks that a guard changed
    changed: float  # of the masks, those that a guard had to change


@lru_cache(maxsize=1024)
def realised_shares(
    masker: AbstractMasker, grid: Grid, batching: Batching = "pack", batch: int = BATCH
) -> Realised:
    """Draws masks over the course of training; returns what they come to on average.

    They are counted as the encoder sees them: where `batching` cuts, in batches of `batch` clips.
    Always the same masks: what a plan says is what it said before. Raises what the masker raises,
    and `AssertionError` for a promise that a mask breaks.
    """
    context, targets, changed = 0.0, 0.0, 0.0
    visible, both, forced = 0, 0, 0
    moments, clips = _course(masker, batching, batch)
    content = None
    if masker.promises.needs is not None:
        content = torch.rand(clips, grid.size, 8, generator=generator(0, "plan", "content"))
    for moment in moments:
        rng = generator(0, "plan", str(moment))
        whole = Clips.whole(grid, clips, progress=moment, content=content)
        mask = masker.draw(whole, rng)
        check_mask(masker, mask, grid, whole.valid)
        mask = truncate(mask, batching, rng)
        context += float(mask.context.float().mean()) / len(moments)
        targets += float(mask.target_union.float().mean()) / len(moments)
        shared = mask.context & mask.target_union
        visible += int(mask.context.sum())
        both += int(shared.sum())
        if mask.fallback is not None:
            forced += int(shared[mask.fallback].sum())
            changed += float(mask.fallback.float().mean()) / len(moments)
    shares = (context, targets, both / visible, forced / visible, changed)
    return Realised(*(round(share, 4) for share in shares))


def _course(
    masker: AbstractMasker, batching: Batching, batch: int
) -> tuple[tuple[float, ...], int]:
    """Returns the moments of training at which to draw, and how many clips at each.

    Where a sample's mask hangs on the others of its batch, it is batches that count.
    """
    coupled, cut = masker.promises.coupled, is_cut(batching)
    if not coupled and not cut:
        return MOMENTS, DRAWS
    batches = COUPLED_BATCHES if coupled else BATCHES
    if cut:
        clips, batches = batch, max(BATCHES, min(batches, MOST_MASKS // batch))
    else:
        clips = len(MOMENTS) * DRAWS // batches
    return tuple(number / (batches - 1) for number in range(batches)), clips


@dataclass(frozen=True)
class Spread:
    """A share of the grid, 0 to 1, over masks: its mean and its 1st and 99th percentile."""

    mean: float
    p1: float
    p99: float


@dataclass(frozen=True)
class Distance:
    """How far a target patch is from the nearest context patch, in patches, on average."""

    straight: float
    freq: float  # how much of it lies along frequency
    time: float


@dataclass(frozen=True, kw_only=True)
class MaskStatistics:
    """The figures of one masker on one grid. Histograms count by length, 0 to the axis."""

    context: Spread
    targets: Spread  # the union of a sample's blocks
    context_visits: Tensor  # (freq, time), the probability that a patch is context
    target_visits: Tensor  # (freq, time)
    distance: Distance
    block_heights: Tensor  # (freq + 1,), rows that a target block spans
    block_widths: Tensor  # (time + 1,)
    freq_runs: Tensor  # (freq + 1,), target patches in a row along frequency
    time_runs: Tensor  # (time + 1,)
    truncation_loss: float  # share of context patches beyond the poorest of each batch
    padding_waste: float  # share of places empty when each batch is filled up to its richest
    masks_per_second: float

    def plain(self) -> dict[str, Any]:
        """Returns the figures as plain data."""
        return {
            key: value.tolist() if isinstance(value, Tensor) else value
            for key, value in dataclasses.asdict(self).items()
        }


def measure(
    masker: AbstractMasker,
    grid: Grid,
    *,
    content: Tensor | None = None,
    batch: int = BATCH,
    batches: int | None = None,
    seed: int = 0,
) -> MaskStatistics:
    """Draws masks and counts. `content` (clips, patches, dim) is handed out clip after clip.

    Raises what the masker raises, and `AssertionError` for a promise that a mask breaks.
    """
    if batches is None:
        batches = COUPLED_BATCHES if masker.promises.coupled else BATCHES
    drawn, seconds = [], 0.0
    for number in range(batches):
        rng = generator(seed, "statistics", number)
        progress = number / max(batches - 1, 1)
        handed = None
        if content is not None and masker.promises.needs is not None:
            handed = content[torch.arange(number * batch, (number + 1) * batch) % len(content)]
        clips = Clips.whole(grid, batch, progress=progress, content=handed)
        started = time.perf_counter()
        mask = masker.draw(clips, rng)
        seconds += time.perf_counter() - started
        check_mask(masker, mask, grid, clips.valid)
        drawn.append(mask)
    return count(drawn, grid, seconds)


def count(drawn: list[Mask], grid: Grid, seconds: float) -> MaskStatistics:
    """Counts what batches of masks, which took `seconds` to draw, amount to."""
    context = _cells(torch.cat([mask.context for mask in drawn]), grid)
    targets = _cells(torch.cat([mask.target_union for mask in drawn]), grid)
    # batch by batch: their numbers of blocks may differ
    spans = [_spans(_cells(mask.targets, grid)) for mask in drawn]
    visible = [mask.context.sum(dim=1) for mask in drawn]
    total = sum(int(counts.sum()) for counts in visible)
    cut = sum(int(counts.min()) * len(counts) for counts in visible)
    padded = sum(int(counts.max()) * len(counts) for counts in visible)
    return MaskStatistics(
        context=_spread(context),
        targets=_spread(targets),
        context_visits=context.float().mean(dim=0),
        target_visits=targets.float().mean(dim=0),
        distance=distance(context, targets),
        block_heights=_histogram(torch.cat([heights for heights, _ in spans]), grid.freq),
        block_widths=_histogram(torch.cat([widths for _, widths in spans]), grid.time),
        freq_runs=_histogram(runs(targets.transpose(-1, -2)), grid.freq),
        time_runs=_histogram(runs(targets), grid.time),
        truncation_loss=1 - cut / total,
        padding_waste=1 - total / padded,
        masks_per_second=len(context) / max(seconds, 1e-9),
    )


def distance(context: Tensor, targets: Tensor) -> Distance:
    """Measures from every target patch to the nearest context patch of its sample.

    Both are bool (batch, freq, time). Where several context patches are equally near, the steps
    along an axis are their mean. A sample without context counts nowhere.
    """
    starts = range(0, len(context), BATCH)  # a few at a time: memory grows with all pairs of rows
    pieces = [_steps(context[i : i + BATCH], targets[i : i + BATCH]) for i in starts]
    found = torch.cat(pieces)
    if not len(found):
        return Distance(0.0, 0.0, 0.0)
    return Distance(*found.mean(dim=0).tolist())


def runs(member: Tensor) -> Tensor:
    """Returns the lengths of all unbroken runs of True along the last axis, int64 (runs,)."""
    lines = torch.nn.functional.pad(member.reshape(-1, member.shape[-1]).char(), (1, 1))
    edges = lines.diff(dim=1)
    return (edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]


def _cells(member: Tensor, grid: Grid) -> Tensor:
    return rearrange(member, "... (freq time) -> ... freq time", freq=grid.freq)


def _spread(member: Tensor) -> Spread:
    shares = member.double().mean(dim=(1, 2))
    low, high = shares.quantile(torch.tensor([0.01, 0.99], dtype=torch.double)).tolist()
    return Spread(float(shares.mean()), low, high)


def _steps(context: Tensor, targets: Tensor) -> Tensor:
    """Returns how far the nearest context patch is, (target patches, 3): straight, freq, time."""
    rows = torch.arange(context.shape[1])
    apart = (rows.view(-1, 1) - rows).abs().unsqueeze(-1)  # (from, to, 1)
    along, ways = (found.unsqueeze(1) for found in _along_time(context))
    square = apart.square() + along.square()  # (batch, from, to, time)
    least = square.amin(dim=2)
    ways = ways * (square == least.unsqueeze(2))
    number = ways.sum(dim=2)
    steps = [least.sqrt(), (ways * apart).sum(dim=2) / number, (ways * along).sum(dim=2) / number]
    return torch.stack(steps, dim=-1)[targets & context.any(dim=(1, 2), keepdim=True)].double()


def _along_time(context: Tensor) -> tuple[Tensor, Tensor]:
    """Returns how far the nearest context patch of the same row is, and how many are that near.

    Where the row has none, the distance is larger than any on the grid.
    """
    _, freq, length = context.shape
    far = freq + length
    place = torch.arange(length).expand(context.shape)
    before = place.where(context, torch.tensor(-far)).cummax(dim=-1).values
    after = place.where(context, torch.tensor(length + far)).flip(-1).cummin(dim=-1).values.flip(-1)
    back, ahead = place - before, after - place
    along = back.minimum(ahead).clamp(max=far)
    ways = (back == ahead).int() * (back > 0) + 1
    return along.float(), ways.float()


def _spans(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Returns how many rows and columns each block that holds a patch spans."""
    found = []
    for axis in (-1, -2):
        touched = blocks.any(dim=axis).flatten(0, 1)
        touched = touched[touched.any(dim=1)].char()
        first, last = touched.argmax(dim=1), touched.flip(-1).argmax(dim=1)
        found.append(touched.shape[1] - first - last)
    return found[0], found[1]


def _histogram(lengths: Tensor, longest: int) -> Tensor:
    return lengths.bincount(minlength=longest + 1)
