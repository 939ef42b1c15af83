"""Checks the promises of a masker on a batch of its masks."""

import torch
from torch import Tensor

from ablate.model.masking import AbstractMasker, Grid, Mask


def check_mask(masker: AbstractMasker, mask: Mask, grid: Grid, valid: Tensor) -> None:
    """Checks every promise that one batch of masks can show.

    Args:
        masker: The masker that drew the mask.
        mask: `promises.copies` samples for each clip.
        grid: The patches.
        valid: Marks the patches that are not padding, bool (clips, patches).

    Raises:
        AssertionError: For the first broken promise, with a sentence.
    """
    promises = masker.promises
    valid = valid.repeat_interleave(promises.copies, dim=0)
    batch = len(valid)
    assert mask.context.dtype == mask.targets.dtype == torch.bool, "a mask is not bool"
    assert mask.context.shape == (batch, grid.size), f"context is {tuple(mask.context.shape)}"
    shape = (batch, mask.targets.shape[1], grid.size)
    assert mask.targets.shape == shape, f"targets are {tuple(mask.targets.shape)}"
    assert mask.context.any(dim=1).all(), f"an empty context on {grid}"
    assert mask.target_union.any(dim=1).all(), f"a sample without a target on {grid}"
    chosen = mask.context | mask.target_union
    assert not (chosen & ~valid).any(), f"a padding patch was chosen on {grid}"
    if not promises.overlap:
        assert not (mask.context & mask.target_union).any(), f"context meets target on {grid}"
    fallback = mask.fallback
    assert fallback is None or (fallback.dtype == torch.bool and fallback.shape == (batch,)), (
        "`fallback` is not bool (batch,)"
    )
    _check_share(masker, mask, grid, valid)


def _check_share(masker: AbstractMasker, mask: Mask, grid: Grid, valid: Tensor) -> None:
    low, high = masker.promises.context
    count, visible = valid.sum(dim=1), mask.context.sum(dim=1)
    if masker.promises.exact:  # rounded to patches, with at least one visible and one hidden
        slack = torch.full_like(count, 0.501, dtype=torch.float)
        lowest, highest = ((count * share).clamp(min=1).minimum(count - 1) for share in (low, high))
    else:  # rounding moves an edge by half a row or a column, and shares of few patches are coarse
        line = grid.freq if grid.time > 1 else 1  # a single column is never hidden completely
        half_row = count / grid.freq / 2 if grid.freq > 1 else torch.zeros_like(count)
        slack = torch.where(count < 64, count, (count.sqrt() + line).maximum(half_row + line))
        lowest, highest = count * low, count * high
    within = (visible >= lowest - slack) & (visible <= highest + slack)
    assert within.all(), (
        f"on {grid} the context holds {visible.tolist()} of {count.tolist()} patches; "
        f"promised {low:.3f} to {high:.3f}"
    )
