"""Objectives: how far what is predicted is from its target.

The loss is the mean over a sample's target patches, then over samples: a sample with many
targets counts as one with few.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.masking import Mask


class AbstractObjective(ABC):
    """A distance per target patch. Subclasses are frozen keyword-only dataclasses."""

    coupled: ClassVar[bool] = False  # its loss of a batch is no mean over parts of the batch

    @abstractmethod
    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compares (tokens, dim) with targets alike, to (tokens,)."""

    def units(self, mask: Mask) -> int:
        """Counts what the loss is a mean over, in the mask of any slice of a batch.

        The loss of a batch is the sum over its slices of the slice's loss times its share of
        the batch's units.
        """
        return len(mask.context)


@dataclass(frozen=True, kw_only=True)
class SmoothL1(AbstractObjective):
    """Smooth L1, as in I-JEPA and the Sony JEPA: squared below `beta`, absolute above."""

    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ValueError(f"`beta` must be above 0; got {self.beta}")

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        apart = F.smooth_l1_loss(predicted, target, beta=self.beta, reduction="none")
        return apart.mean(dim=-1)


@dataclass(frozen=True, kw_only=True)
class L2(AbstractObjective):
    """Mean squared error, as in the text of Audio-JEPA (https://arxiv.org/abs/2507.02915)."""

    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        return (predicted - target).square().mean(dim=-1)


def mean_per_sample(distance: Tensor, owner: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Averages (tokens,) over each sample's tokens, then over samples."""
    counts = torch.tensor(lengths, dtype=distance.dtype, device=distance.device)
    sums = torch.zeros_like(counts).index_add(0, owner, distance)
    return (sums / counts).mean()
