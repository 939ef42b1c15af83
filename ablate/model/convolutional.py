"""A predictor of convolutions over the whole grid, with mask tokens where nothing is seen.

The decoder of data2vec 2.0 (Baevski et al., ICML 2023, https://arxiv.org/abs/2212.07525) and EAT
(Chen et al., IJCAI 2024, https://arxiv.org/abs/2401.03497): no positions, since a convolution
knows its neighbours.
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.masking import Grid
from ablate.model.packing import real_rows
from ablate.model.prediction_query import Question
from ablate.model.predictor import (
    AbstractPredictor,
    MaskToken,
    Predictor,
    mask_embedding,
    mask_noise,
)


@dataclass(frozen=True, kw_only=True)
class Convolutional(AbstractPredictor):
    """Grouped 2-D convolutions, each normed and added to what it was given.

    The defaults are EAT's. Unlike EAT: features are first brought to `dim` by a matrix, and padding
    stays zero throughout, so that a short clip is predicted as it would be alone.
    """

    dim: int = 768
    layers: int = 6
    kernel: int = 3  # patches along each axis, odd
    groups: int = 16
    mask_token: MaskToken = "noise"  # what stands in for a hidden patch

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"`layers` must be at least 1; got {self.layers}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, to have a middle; got {self.kernel}")
        if self.groups < 1 or self.dim < 1 or self.dim % self.groups:
            raise ValueError(f"`dim` {self.dim} must be a multiple of `groups` {self.groups}")

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return ConvolutionalPredictor(self, grid, dim, target_dim)


class ConvolutionalPredictor(Predictor):
    """Context features laid out on the grid, mask tokens between them, and convolutions."""

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

    def forward(self, features: Tensor, question: Question) -> Tensor:
        if question.context.segments.filler is not None:
            features = features.index_select(0, real_rows(question.context, features.device))
        whole = question.every
        seen = self.narrow(features).float()  # what layers add up stays so under autocast
        dense = self._laid_out(seen, question, whole.index)
        real = dense.new_zeros(len(dense), 1).index_fill(0, whole.index, 1)
        cells, real = self._unflattened(dense), self._unflattened(real)
        for convolution in self.convolutions:
            changed = rearrange(convolution(cells), "samples dim ... -> samples ... dim")
            changed = F.gelu(F.layer_norm(changed, changed.shape[-1:]))
            cells = cells + real * rearrange(changed, "samples ... dim -> samples dim ...")
        dense = rearrange(cells, "samples dim freq time -> (samples freq time) dim")
        predicted: Tensor = self.widen(dense.index_select(0, question.asked.index))
        return predicted

    def _laid_out(self, seen: Tensor, question: Question, real: Tensor) -> Tensor:
        """Returns every patch of every sample, (samples patches, dim): padding is zero."""
        samples = len(question.mask.context)
        stand_in = seen.new_zeros(self.grid.size, seen.shape[1])
        if self.mask_embedding is not None:
            stand_in = stand_in + self.mask_embedding
        if self.noisy:
            stand_in = stand_in + mask_noise(question, stand_in)
        dense = seen.new_zeros(samples * self.grid.size, seen.shape[1])
        dense = dense.index_copy(0, real, stand_in.index_select(0, real % self.grid.size))
        return dense.index_copy(0, question.visible.index, seen)

    def _unflattened(self, dense: Tensor) -> Tensor:
        return rearrange(
            dense,
            "(samples freq time) dim -> samples dim freq time",
            freq=self.grid.freq,
            time=self.grid.time,
        )

    def flops(self, question: Question) -> int:
        cells = question.real.numel()
        ends = self.narrow.weight.numel() * question.visible.segments.total
        ends += self.widen.weight.numel() * question.asked.segments.total
        return 2 * (self._weights * cells + ends)
