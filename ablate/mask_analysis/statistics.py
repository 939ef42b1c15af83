"""Statistics of a masker's masks: shares, visits per patch, distances, block sizes and runs.

All are computed over batches drawn at different points of training, so that a curriculum is
averaged over its course.
"""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ablate.core.random import generator
from ablate.mask_analysis.realised_shares import BATCH, BATCHES, COUPLED_BATCHES
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Clips, Grid, Mask


@dataclass(frozen=True)
class Spread:
    """Distribution of a share of the grid, 0 to 1, over masks: mean, 1st and 99th percentile."""

    mean: float
    p1: float
    p99: float


@dataclass(frozen=True)
class Distance:
    """Mean distance of a target patch to the nearest context patch, in patches."""

    straight: float  # Euclidean
    freq: float  # component along frequency
    time: float  # component along time


@dataclass(frozen=True, kw_only=True)
class MaskStatistics:
    """Statistics of one masker on one grid. Histograms count by length, 0 to the axis length."""

    context: Spread
    targets: Spread  # union of a sample's blocks
    context_visits: Tensor  # (freq, time): probability that a patch is context
    target_visits: Tensor  # (freq, time): probability that a patch is a target
    distance: Distance
    block_heights: Tensor  # (freq + 1,): rows that a target block spans
    block_widths: Tensor  # (time + 1,): columns that a target block spans
    freq_runs: Tensor  # (freq + 1,): runs of consecutive target patches along frequency
    time_runs: Tensor  # (time + 1,): the same along time
    truncation_loss: (
        float  # share of context patches lost by cutting each batch to its smallest context
    )
    padding_waste: float  # share of filler tokens if each batch is padded to its largest
    masks_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Returns the statistics as numbers and lists, for JSON."""
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
    """Draws masks and computes their statistics.

    Args:
        masker: The masker.
        grid: The grid to draw on.
        content: `(clips, patches, dim)` for maskers that need content; clips are reused in turn.
        batch: Clips per batch.
        batches: Number of batches; by default 16, or 128 for a coupled masker.
        seed: Seed of the masks.

    Raises:
        AssertionError: A mask breaks a promise of the masker.
        Exception: Whatever the masker raises.
    """
    if batches is None:
        batches = COUPLED_BATCHES if masker.promises.coupled else BATCHES
    masks, seconds = [], 0.0
    for number in range(batches):
        rng = generator(seed, "statistics", number)
        progress = number / max(batches - 1, 1)
        batch_content = None
        if content is not None and masker.promises.needs is not None:
            rows = torch.arange(number * batch, (number + 1) * batch) % len(content)
            batch_content = content[rows]
        clips = Clips.unpadded(grid, batch, progress=progress, content=batch_content)
        started = time.perf_counter()
        mask = masker.draw(clips, rng)
        seconds += time.perf_counter() - started
        check_mask(masker, mask, grid, clips.valid)
        masks.append(mask)
    return compute_statistics(masks, grid, seconds)


def compute_statistics(masks: list[Mask], grid: Grid, seconds: float) -> MaskStatistics:
    """Computes the statistics of batches of masks that took `seconds` to draw."""
    context = _to_cells(torch.cat([mask.context for mask in masks]), grid)
    targets = _to_cells(torch.cat([mask.target_union for mask in masks]), grid)
    # batch by batch, because the number of blocks may differ between batches
    spans = [_block_spans(_to_cells(mask.targets, grid)) for mask in masks]
    visible = [mask.context.sum(dim=1) for mask in masks]
    total = sum(int(counts.sum()) for counts in visible)
    cut = sum(int(counts.min()) * len(counts) for counts in visible)
    padded = sum(int(counts.max()) * len(counts) for counts in visible)
    return MaskStatistics(
        context=_share_spread(context),
        targets=_share_spread(targets),
        context_visits=context.float().mean(dim=0),
        target_visits=targets.float().mean(dim=0),
        distance=compute_distance(context, targets),
        block_heights=_histogram(torch.cat([heights for heights, _ in spans]), grid.freq),
        block_widths=_histogram(torch.cat([widths for _, widths in spans]), grid.time),
        freq_runs=_histogram(run_lengths(targets.transpose(-1, -2)), grid.freq),
        time_runs=_histogram(run_lengths(targets), grid.time),
        truncation_loss=1 - cut / total,
        padding_waste=1 - total / padded,
        masks_per_second=len(context) / max(seconds, 1e-9),
    )


def compute_distance(context: Tensor, targets: Tensor) -> Distance:
    """Computes the mean distance from target patches to the nearest context patch of the sample.

    Both are bool `(batch, freq, time)`. If several context patches are equally near, the
    components along the axes are averaged. Samples without context are skipped.
    """
    starts = range(0, len(context), BATCH)  # in chunks: memory grows with the pairs of rows
    chunks = [_nearest_context(context[i : i + BATCH], targets[i : i + BATCH]) for i in starts]
    distances = torch.cat(chunks)
    if not len(distances):
        return Distance(0.0, 0.0, 0.0)
    return Distance(*distances.mean(dim=0).tolist())


def run_lengths(member: Tensor) -> Tensor:
    """Returns the lengths of all runs of consecutive True along the last axis, int64 `(runs,)`."""
    lines = torch.nn.functional.pad(member.reshape(-1, member.shape[-1]).char(), (1, 1))
    edges = lines.diff(dim=1)
    return (edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]


def _to_cells(member: Tensor, grid: Grid) -> Tensor:
    return rearrange(member, "... (freq time) -> ... freq time", freq=grid.freq)


def _share_spread(member: Tensor) -> Spread:
    shares = member.double().mean(dim=(1, 2))
    low, high = shares.quantile(torch.tensor([0.01, 0.99], dtype=torch.double)).tolist()
    return Spread(float(shares.mean()), low, high)


def _nearest_context(context: Tensor, targets: Tensor) -> Tensor:
    """Computes the distance of each target patch to the nearest context patch.

    Returns `(target patches, 3)`: Euclidean, along freq, along time.
    """
    rows = torch.arange(context.shape[1])
    in_freq = (rows.view(-1, 1) - rows).abs().unsqueeze(-1)  # (from, to, 1)
    in_time, counts = (part.unsqueeze(1) for part in _nearest_in_row(context))
    square = in_freq.square() + in_time.square()  # (batch, from, to, time)
    least = square.amin(dim=2)
    counts = counts * (square == least.unsqueeze(2))
    total = counts.sum(dim=2)
    distances = [
        least.sqrt(),
        (counts * in_freq).sum(dim=2) / total,
        (counts * in_time).sum(dim=2) / total,
    ]
    return torch.stack(distances, dim=-1)[targets & context.any(dim=(1, 2), keepdim=True)].double()


def _nearest_in_row(context: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the distance to the nearest context patch of the same row, and their number.

    Both are float32 `(batch, freq, time)`. In a row without context the distance is larger than
    any on the grid.
    """
    _, freq, length = context.shape
    far = freq + length
    place = torch.arange(length).expand(context.shape)
    before = place.where(context, torch.tensor(-far)).cummax(dim=-1).values
    after = place.where(context, torch.tensor(length + far)).flip(-1).cummin(dim=-1).values.flip(-1)
    back, ahead = place - before, after - place
    nearest = back.minimum(ahead).clamp(max=far)
    counts = (back == ahead).int() * (back > 0) + 1
    return nearest.float(), counts.float()


def _block_spans(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the numbers of rows and columns that each non-empty block spans."""
    spans = []
    for axis in (-1, -2):
        occupied = blocks.any(dim=axis).flatten(0, 1)
        occupied = occupied[occupied.any(dim=1)].char()
        first, last = occupied.argmax(dim=1), occupied.flip(-1).argmax(dim=1)
        spans.append(occupied.shape[1] - first - last)
    return spans[0], spans[1]


def _histogram(lengths: Tensor, longest: int) -> Tensor:
    return lengths.bincount(minlength=longest + 1)
