"""Average shares of context and targets in a masker's masks, over the course of training."""

from functools import lru_cache
from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor

from ablate.core.random import generator
from ablate.model.batching import Batching, is_cut, truncate
from ablate.model.mask_contract import check_mask
from ablate.model.masking import AbstractMasker, Clips, Grid

BATCH = 64  # clips per batch; truncation loses more in larger batches
BATCHES = 16  # batches, evenly spaced over training
COUPLED_BATCHES = 128  # batches of a coupled masker, whose samples depend on each other
MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # progress values at which a plan draws masks
DRAWS = 256  # masks per moment
MOST_MASKS = 4096  # most masks drawn for truncated batches, unless `BATCHES` of them hold more


class RealisedShares(NamedTuple):
    """Average shares of a masker's masks on one grid."""

    context: float  # share of the grid
    targets: float  # share of the grid
    overlap: float  # share of context patches that are also targets
    forced_overlap: float  # the same, counting only masks that fell back to other settings
    changed: float  # share of masks that fell back, because the settings could not be satisfied


@lru_cache(maxsize=1024)
def compute_realised_shares(
    masker: AbstractMasker,
    grid: Grid,
    batching: Batching = "pack",
    batch: int = BATCH,
    columns: tuple[int, ...] = (),
) -> RealisedShares:
    """Computes the average shares of masks drawn over the course of training.

    The masks are always the same, so that a plan is reproducible.

    Args:
        masker: The masker.
        grid: The grid to draw on.
        batching: Masks are counted after it, as the encoder sees them.
        batch: Clips per batch, if `batching` truncates.
        columns: Columns of the grid that are not padding, of clips that stand for all; shares
            are then those of the patches that are not padding. Empty: no clip is padded.

    Raises:
        AssertionError: A mask breaks a promise of the masker.
        Exception: Whatever the masker raises.
    """
    context, targets, changed = 0.0, 0.0, 0.0
    visible, both, forced = 0, 0, 0
    moments, clips = _draw_schedule(masker, batching, batch)
    content = None
    if masker.promises.needs is not None:
        content = torch.rand(clips, grid.size, 8, generator=generator(0, "plan", "content"))
    for moment in moments:
        rng = generator(0, "plan", str(moment))
        valid = draw_valid(grid, clips, columns, moment)
        drawn = Clips(grid=grid, valid=valid, progress=moment, content=content)
        mask = masker.draw(drawn, rng)
        check_mask(masker, mask, grid, valid)
        mask = truncate(mask, batching, rng, copies=masker.promises.copies)
        share = float(valid.float().mean())  # 1 without padding
        context += float(mask.context.float().mean()) / share / len(moments)
        targets += float(mask.target_union.float().mean()) / share / len(moments)
        shared = mask.context & mask.target_union
        visible += int(mask.context.sum())
        both += int(shared.sum())
        if mask.fallback is not None:
            forced += int(shared[mask.fallback].sum())
            changed += float(mask.fallback.float().mean()) / len(moments)
    shares = (context, targets, both / visible, forced / visible, changed)
    return RealisedShares(*(round(share, 4) for share in shares))


def draw_valid(grid: Grid, clips: int, columns: tuple[int, ...], moment: float) -> Tensor:
    """Draws clips of the given lengths; returns which of their patches are not padding."""
    if not columns:
        return torch.ones(clips, grid.size, dtype=torch.bool)
    rng = generator(0, "plan", "lengths", str(moment))
    lengths = torch.tensor(columns)[torch.randint(len(columns), (clips,), generator=rng)]
    valid = torch.arange(grid.time) < lengths.unsqueeze(1)
    return repeat(valid, "clips time -> clips (freq time)", freq=grid.freq)


def _draw_schedule(
    masker: AbstractMasker, batching: Batching, batch: int
) -> tuple[tuple[float, ...], int]:
    """Returns the progress values at which to draw, and the number of clips at each.

    If a sample's mask depends on the rest of its batch, more batches are drawn, of fewer clips.
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
