"""Targets: what a predictor must give for the hidden patches of a clip.

A target's settings and what is built from them are two things, as with encoders. What is built
holds no trainable weight: it follows the context encoder, or stands still.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import pack, rows_of


class Target(nn.Module, ABC):
    """Says what the features of target patches should have been."""

    dim: int  # the width that a predictor must give
    encoder: Encoder | None  # the one that follows the context encoder and is probed

    @abstractmethod
    def forward(self, patches: Tensor, valid: Tensor, union: Tensor, copies: int) -> Tensor:
        """Returns float32 (target tokens, dim), without a gradient, in the order of `union`.

        `patches` (clips, patches, pixels) lie on the device; `valid`, bool (clips, patches), and
        `union`, bool (clips * copies, patches), which marks every target, on the CPU.
        """

    @abstractmethod
    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Moves towards the context encoder, by as much as 1 - `momentum`."""

    @abstractmethod
    def flops(self, valid: Tensor, union: Tensor, copies: int) -> int:
        """Counts the operations of one forward pass."""


class AbstractTarget(ABC):
    """The settings of a target; subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        """Builds the target beside a context encoder whose weights are set."""


@dataclass(frozen=True, kw_only=True)
class Teacher(AbstractTarget):
    """The features of a target encoder that follows the context encoder by moving average.

    It sees every real patch of a clip; its features are layer-normalised over their dimensions,
    without weights, as in I-JEPA (https://arxiv.org/abs/2301.08243).
    """

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return FollowingTarget(encoder)


class FollowingTarget(Target):
    """A copy of the context encoder, its moving average."""

    encoder: Encoder

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.dim = encoder.dim
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def forward(self, patches: Tensor, valid: Tensor, union: Tensor, copies: int) -> Tensor:
        everything = self.encoder(patches, pack(valid, patches.device)).tokens
        rows = rows_of(union, valid, patches.device, copies=copies)
        return normalise(everything.index_select(0, rows))

    @torch.no_grad()
    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Sets target = momentum * target + (1 - momentum) * encoder.

        Weights are float32 whatever the autocast: at bfloat16, steps of 1e-4 would vanish.
        """
        targets: list[Tensor] = list(self.encoder.parameters())
        sources: list[Tensor] = list(encoder.parameters())
        torch._foreach_lerp_(targets, sources, 1 - momentum)

    def flops(self, valid: Tensor, union: Tensor, copies: int) -> int:
        return self.encoder.flops(pack(valid))


def normalise(target: Tensor) -> Tensor:
    """Layer-normalises targets over their last axis, in float32 and without a gradient."""
    return F.layer_norm(target.detach().float(), target.shape[-1:])
