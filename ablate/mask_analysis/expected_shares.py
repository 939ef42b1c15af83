"""Computes the shares that masks have at one moment of training, to compare with realised ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.mask_analysis.realised_shares import DRAWS, draw_valid
from ablate.model.batching import Batching, truncate
from ablate.model.masking import AbstractMasker, Clips, Grid


class ExpectedShare(NamedTuple):
    """A share of the patches that are not padding, over masks."""

    mean: float
    std: float  # over masks; of batches if masks depend on their batch


class ExpectedShares(NamedTuple):
    """The shares of a masker's masks at one moment of training."""

    context: ExpectedShare
    targets: ExpectedShare


def compute_expected_shares(
    masker: AbstractMasker,
    grid: Grid,
    batching: Batching,
    batch: int,
    columns: tuple[int, ...],
    progress: float,
) -> ExpectedShares:
    """Draws batches at one moment of training; returns the shares, as training measures them.

    Args:
        masker: The masker.
        grid: The grid to draw on.
        batching: Masks are counted after it, as the encoder sees them.
        batch: Clips per batch.
        columns: Columns of the grid that are not padding, as for `compute_realised_shares`.
        progress: The share of training that is done.
    """
    context, targets, valid_patches = [], [], []
    for number in range(max(1, DRAWS // batch)):
        rng = generator(0, "expect", str(progress), number)
        valid = draw_valid(grid, batch, columns, progress + number)
        content = None
        if masker.promises.needs is not None:
            content = torch.rand(batch, grid.size, 8, generator=rng)
        mask = masker.draw(Clips(grid=grid, valid=valid, progress=progress, content=content), rng)
        mask = truncate(mask, batching, rng, copies=masker.promises.copies)
        context.append(mask.context.sum(dim=1))
        targets.append(mask.target_union.sum(dim=1))
        valid_patches.append(valid.sum(dim=1).repeat_interleave(masker.promises.copies))
    total = torch.cat(valid_patches).float()

    def describe(counts: list[Tensor]) -> ExpectedShare:
        values = torch.cat(counts).float()
        return ExpectedShare(float(values.sum() / total.sum()), float((values / total).std()))

    return ExpectedShares(describe(context), describe(targets))
