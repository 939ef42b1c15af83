"""The predictor: from the features of the context to the targets.

Assran et al., CVPR 2023, sec. 3 (https://arxiv.org/abs/2301.08243) calls it once per target
block; joint prediction of all targets is that of V-JEPA (Bardes et al., 2024,
https://arxiv.org/abs/2404.08471).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ablate.model.attention import Segments
from ablate.model.masking import Grid
from ablate.model.packing import Packing, join
from ablate.model.positions import sine_cosine
from ablate.model.transformer import Transformer, check_width


class Predictor(nn.Module, ABC):
    """Predicts the features of target patches from packed context features."""

    @abstractmethod
    def forward(self, features: Tensor, context: Packing, targets: Packing) -> Tensor:
        """Takes (context tokens, dim) and gives (target tokens, target dim)."""

    @abstractmethod
    def flops(self, context: Packing, targets: Packing) -> int:
        """Counts the operations of one forward pass."""


class AbstractPredictor(ABC):
    """The settings of a predictor; subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        """Builds the predictor, from features of width `dim` to targets of width `target_dim`.

        Weights are not set yet.
        """


@dataclass(frozen=True, kw_only=True)
class Joint(AbstractPredictor):
    """A narrow transformer that sees the context and every target patch once."""

    dim: int = 192
    layers: int = 6
    heads: int = 6
    mlp_ratio: float = 4.0
    position_scale: float = 1.0  # of the sines, as in the encoder

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return JointPredictor(self, grid, dim, target_dim)


class JointPredictor(Predictor):
    """Context features and mask embeddings, with positions, in one segment per sample."""

    def __init__(self, settings: Joint, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(dim, settings.dim)
        self.mask_embedding = nn.Parameter(torch.zeros(settings.dim))
        self.transformer = Transformer(
            settings.dim, settings.layers, settings.heads, settings.mlp_ratio
        )
        self.widen = nn.Linear(settings.dim, target_dim)
        positions = settings.position_scale * sine_cosine(grid, settings.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, features: Tensor, context: Packing, targets: Packing) -> Tensor:
        seen = self.narrow(features) + self.positions[context.place]
        asked = self.mask_embedding + self.positions[targets.place]
        joined = join(context, targets)
        tokens = torch.cat([seen, asked.to(seen.dtype)]).index_select(0, joined.order)
        tokens = self.transformer(tokens, joined.segments)
        predicted: Tensor = self.widen(tokens.index_select(0, joined.second))
        return predicted

    def flops(self, context: Packing, targets: Packing) -> int:
        ends = self.narrow.weight.numel() * context.segments.total
        ends += self.widen.weight.numel() * targets.segments.total
        lengths = zip(context.segments.lengths, targets.segments.lengths, strict=True)
        return 2 * ends + self.transformer.flops(Segments(tuple(map(sum, lengths))))
