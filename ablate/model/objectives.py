"""Objectives: how far predicted features are from the target encoder's.

Targets are layer-normalised over their dimensions, without weights, in float32, as in I-JEPA
(https://arxiv.org/abs/2301.08243). The loss is the mean over a sample's target patches, then
over samples: a sample with many targets counts as one with few.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


class AbstractObjective(ABC):
    """A distance per target patch. Subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compares (tokens, dim) with normalised targets, to (tokens,)."""


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


def normalise(target: Tensor) -> Tensor:
    """Layer-normalises targets over their last axis, in float32 and without a gradient."""
    return F.layer_norm(target.detach().float(), target.shape[-1:])


def mean_per_sample(distance: Tensor, owner: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Averages (tokens,) over each sample's tokens, then over samples."""
    counts = torch.tensor(lengths, dtype=distance.dtype, device=distance.device)
    sums = torch.zeros_like(counts).index_add(0, owner, distance)
    return (sums / counts).mean()
