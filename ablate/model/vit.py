"""A vision transformer that reads only the patches it is shown.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021. https://arxiv.org/abs/2010.11929
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ablate.model.encoder import AbstractEncoder, Encoded, Encoder, Hidden
from ablate.model.masking import Grid
from ablate.model.packing import Packing
from ablate.model.positions import sine_cosine
from ablate.model.transformer import Transformer, check_width
from ablate.parts import AS_BEFORE


@dataclass(frozen=True, kw_only=True)
class ViT(AbstractEncoder):
    """A pre-norm ViT with fixed sine-cosine positions."""

    dim: int = 384
    layers: int = 12
    heads: int = 6
    mlp_ratio: float = 4.0
    position_scale: float = 1.0  # of the sines; 0.2 gave a tiny model better neighbours
    hidden: Hidden = field(default="drop", metadata={AS_BEFORE: "drop"})

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)

    def build(self, grid: Grid, pixels: int) -> Encoder:
        return VisionTransformer(self, grid, pixels)


class VisionTransformer(Encoder):
    """A projection of patches, positions, and a transformer."""

    def __init__(self, settings: ViT, grid: Grid, pixels: int) -> None:
        super().__init__()
        self.dim = settings.dim
        self.hidden = settings.hidden
        self.project = nn.Linear(pixels, settings.dim)
        self.transformer = Transformer(
            settings.dim, settings.layers, settings.heads, settings.mlp_ratio
        )
        positions = settings.position_scale * sine_cosine(grid, settings.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor
        if settings.hidden == "replace":
            self.mask_embedding = nn.Parameter(torch.zeros(settings.dim))

    def forward(
        self, patches: Tensor, packing: Packing, *, hidden: Tensor | None = None
    ) -> Encoded:
        tokens = self.project(packing.gather(patches))
        if hidden is not None:
            tokens = torch.where(hidden.unsqueeze(1), self.mask_embedding.to(tokens.dtype), tokens)
        tokens = tokens + self.positions[packing.place]
        layers, normed = self.transformer.outputs(tokens, packing.segments)
        return Encoded(normed, layers)

    def flops(self, packing: Packing) -> int:
        projection = 2 * self.project.weight.numel() * packing.segments.total
        return projection + self.transformer.flops(packing.segments)
