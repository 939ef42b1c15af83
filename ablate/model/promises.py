"""The promises of a masker, checked on one drawn batch of its masks."""

import torch
from torch import Tensor

from ablate.model.masking import AbstractMasker, Grid, Mask


def check_mask(masker: AbstractMasker, mask: Mask, grid: Grid, valid: Tensor) -> None:
    """Raises `AssertionError`, with a sentence, for the first promise that `mask` breaks."""
    promises, batch = masker.promises, len(valid)
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
    _check_share(masker, mask, grid, valid)


def _check_share(masker: AbstractMasker, mask: Mask, grid: Grid, valid: Tensor) -> None:
    low, high = masker.promises.context
    count, visible = valid.sum(dim=1), mask.context.sum(dim=1)
    # rounding moves an exact count by a patch and a rectangle's edge by a row or a column; on
    # fewer than 64 patches a share of the area means too little to be held to
    edges = torch.where(count < 64, count, count.sqrt() + grid.freq)
    slack = torch.ones_like(edges) if masker.promises.exact else edges
    within = (visible >= count * low - slack) & (visible <= count * high + slack)
    assert within.all(), (
        f"on {grid} the context holds {visible.tolist()} of {count.tolist()} patches; "
        f"promised {low:.3f} to {high:.3f}"
    )
