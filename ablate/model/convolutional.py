"""A convolutional predictor over the whole grid, with mask tokens at hidden patches.

The decoder of data2vec 2.0 (Baevski et al., ICML 2023, https://arxiv.org/abs/2212.07525) and EAT
(Chen et al., IJCAI 2024, https://arxiv.org/abs/2401.03497). It needs no positions: convolutions
encode relative position.
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.masking import Grid
from ablate.model.packing import real_rows
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import (
    AbstractPredictor,
    MaskToken,
    Predictor,
    mask_embedding,
    mask_noise,
)


@dataclass(frozen=True, kw_only=True)
class Convolutional(AbstractPredictor):
    """Grouped 2-D convolutions, each followed by layer norm and GELU, with residual connections.

    The defaults are EAT's. Unlike EAT: a linear layer first maps features to `dim`, and padding
    patches stay zero throughout, so that the prediction of a short clip does not depend on the
    padding.

    Args:
        dim: Width of the predictor's tokens.
        layers: Number of convolutions.
        kernel: Size of a convolution along each axis in patches, odd.
        groups: Number of groups of channels.
        mask_token: Placeholder of a hidden patch: a learned vector, zero, or noise.

    Example:
        predictor: {type: ablate.model.convolutional.Convolutional, dim: 768, layers: 6}
    """

    dim: int = 768
    layers: int = 6
    kernel: int = 3
    groups: int = 16
    mask_token: MaskToken = "noise"

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"`layers` must be at least 1; got {self.layers}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd and positive; got {self.kernel}")
        if self.groups < 1 or self.dim < 1 or self.dim % self.groups:
            raise ValueError(f"`dim` {self.dim} must be a multiple of `groups` {self.groups}")

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return ConvolutionalPredictor(self, grid, dim, target_dim)


class ConvolutionalPredictor(Predictor):
    """Convolutions over the grid of context features, with mask tokens in the other cells."""

    def __init__(self, settings: Convolutional, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        self.grid = grid
        self.narrow = nn.Linear(dim, settings.dim)
        self.mask_embedding = mask_embedding(settings.mask_token, settings.dim)
        self.noisy = settings.mask_token == "noise"
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(
                    settings.dim,
                    settings.dim,
                    settings.kernel,
                    padding="same",
                    groups=settings.groups,
                )
                for _ in range(settings.layers)
            ]
        )
        self._weights = sum(p.numel() for p in self.convolutions.parameters() if p.dim() > 1)
        self.widen = nn.Linear(settings.dim, target_dim)

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        if query.context.segments.filler is not None:
            features = features.index_select(0, real_rows(query.context, features.device))
        valid = query.sample_patches.index
        context = self.narrow(features).float()  # the residual stream stays so under autocast
        dense = self._fill_grid(context, query, valid)
        real = dense.new_zeros(len(dense), 1).index_fill(0, valid, 1)
        cells, real = self._to_grid(dense), self._to_grid(real)
        for convolution in self.convolutions:
            changed = rearrange(convolution(cells), "samples dim ... -> samples ... dim")
            changed = F.gelu(F.layer_norm(changed, changed.shape[-1:]))
            cells = cells + real * rearrange(changed, "samples ... dim -> samples dim ...")
        dense = rearrange(cells, "samples dim freq time -> (samples freq time) dim")
        predicted: Tensor = self.widen(dense.index_select(0, query.query_tokens.index))
        return predicted

    def _fill_grid(self, context: Tensor, query: PredictionQuery, valid: Tensor) -> Tensor:
        """Returns every patch of every sample, `(samples patches, dim)`; padding is zero."""
        samples = len(query.mask.context)
        placeholder = context.new_zeros(self.grid.size, context.shape[1])
        if self.mask_embedding is not None:
            placeholder = placeholder + self.mask_embedding
        if self.noisy:
            placeholder = placeholder + mask_noise(query, placeholder)
        dense = context.new_zeros(samples * self.grid.size, context.shape[1])
        dense = dense.index_copy(0, valid, placeholder.index_select(0, valid % self.grid.size))
        return dense.index_copy(0, query.unpadded_context.index, context)

    def _to_grid(self, dense: Tensor) -> Tensor:
        return rearrange(
            dense,
            "(samples freq time) dim -> samples dim freq time",
            freq=self.grid.freq,
            time=self.grid.time,
        )

    def flops(self, query: PredictionQuery) -> int:
        cells = query.sample_valid.numel()
        ends = self.narrow.weight.numel() * query.unpadded_context.segments.num_tokens
        ends += self.widen.weight.numel() * query.query_tokens.segments.num_tokens
        return 2 * (self._weights * cells + ends)
