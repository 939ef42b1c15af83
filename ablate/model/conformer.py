"""A conformer encoder: self-attention over the clip and convolution over neighbours in time.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition", Interspeech
2020. https://arxiv.org/abs/2005.08100
Unlike the paper: the convolution is followed by layer norm per token, because batch norm would mix
clips and count padding; positions are a separate part, rotary by default, instead of the relative
sinusoids of Transformer-XL.
"""

from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.device import on_device
from ablate.core.random import StepRandom
from ablate.model.drop_path import check_drop_path, drop_path_factors
from ablate.model.encoder import AbstractEncoder, Encoded, Encoder, Hidden
from ablate.model.masking import Grid
from ablate.model.packing import Packing
from ablate.model.positions import AbstractPositions, Rotary2D
from ablate.model.stems import AbstractStem, LinearStem
from ablate.model.transformer import (
    AttentionContext,
    Layers,
    check_width,
    scale_branch,
    self_attention,
)


@dataclass(frozen=True, kw_only=True)
class Conformer(AbstractEncoder):
    """A conformer, by default the small model of Srivastava et al., ICASSP 2022.

    https://arxiv.org/abs/2110.07313 reports 18.4 M and 88.1 M parameters; the sizes are inferred
    from these counts: both models have 12 layers, an `mlp_dim` of 1024, and `dim` 256 or 768.

    Args:
        dim: Width of the tokens.
        layers: Number of layers.
        heads: Number of attention heads per layer.
        mlp_dim: Hidden width of each of the two half feed-forward modules.
        kernel: Width of the convolution in columns of the grid, odd.
        hidden: How hidden patches are treated: their tokens are left out (`drop`), or their content
            is replaced by a learned embedding (`replace`); with `drop` the convolution sees zeros
            there.
        stem: Maps the values of a patch to a token.
        positions: The position encoding.
        drop_path: Rate at which the residual branches of the last layer are dropped; rates rise
            linearly from 0 at the first.

    Example:
        encoder: {type: ablate.model.conformer.Conformer, dim: 256, layers: 12, heads: 8}
    """

    dim: int = 256
    layers: int = 12
    heads: int = 8
    mlp_dim: int = 1024
    kernel: int = 31
    hidden: Hidden = "replace"
    stem: AbstractStem = field(default=LinearStem())
    positions: AbstractPositions = field(default=Rotary2D())
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)
        check_drop_path(self.drop_path)
        if self.mlp_dim < 1:
            raise ValueError(f"`mlp_dim` must be at least 1; got {self.mlp_dim}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd and positive; got {self.kernel}")

    def build(self, grid: Grid, pixels: int) -> Encoder:
        return ConformerEncoder(self, grid, pixels)


class ConformerEncoder(Encoder):
    """A stem, positions and conformer layers; the norm of the last layer is the encoder's."""

    def __init__(self, settings: Conformer, grid: Grid, pixels: int) -> None:
        super().__init__()
        self.dim = settings.dim
        self.hidden = settings.hidden
        self.project = settings.stem.build(pixels, settings.dim)
        self.positions = settings.positions.build(grid, settings.dim, settings.heads)
        if settings.hidden == "replace":
            self.mask_embedding = nn.Parameter(torch.zeros(settings.dim))
        self.layers = Layers([ConformerLayer(settings) for _ in range(settings.layers)])
        self._grid = grid
        self._drop_path = settings.drop_path
        self._weights = sum(p.numel() for p in self.layers.parameters() if p.dim() == 2)
        self._taps = settings.kernel * settings.dim * settings.layers

    def forward(
        self,
        patches: Tensor,
        packing: Packing,
        *,
        hidden: Tensor | None = None,
        rng: StepRandom | None = None,
    ) -> Encoded:
        # the residual stream stays float32 under autocast, whatever the positions return
        tokens = self.project(packing.gather(patches)).float()
        if hidden is not None:
            tokens = torch.where(hidden.unsqueeze(1), self.mask_embedding, tokens)
        tokens = self.positions.add(tokens, packing.place)
        attention = AttentionContext(packing.segments, self.positions.rotation(packing.place))
        path_factors = drop_path_factors(
            self._drop_path,
            (len(self.layers), ConformerLayer.BRANCHES),
            packing.segments,
            tokens.device,
            rng=rng,
            copies=packing.copies,
        )
        layers = self.layers.outputs(
            tokens, attention, FrequencyRows(self._grid, packing), path_factors=path_factors
        )
        return Encoded(layers[-1], layers)

    def flops(self, packing: Packing) -> int:
        segments = packing.segments
        cells = len(segments.lengths) * self._grid.size
        attention = 4 * segments.num_pairs * self.dim * len(self.layers)
        products = self._weights * segments.num_tokens + self._taps * cells
        return self.project.flops(segments.num_tokens) + 2 * products + attention


@dataclass(frozen=True)
class FrequencyRows:
    """Maps packed tokens to the rows of the grid along which the convolution runs.

    There is one row of `grid.time` cells per frequency of each sample: samples times `grid.freq`.
    """

    grid: Grid
    packing: Packing

    def scatter(self, tokens: Tensor) -> Tensor:
        """Arranges `(tokens, dim)` as `(rows, dim, time)`, with zeros in cells without a token."""
        filler = self.packing.segments.filler
        if filler is not None:
            tokens = tokens.masked_fill(on_device(filler, tokens.device).unsqueeze(1), 0)
        cells = len(self.packing.segments.lengths) * self.grid.size
        dense = tokens.new_zeros(cells, tokens.shape[1]).index_copy(0, self.packing.index, tokens)
        return rearrange(dense, "(rows time) dim -> rows dim time", time=self.grid.time)

    def gather(self, rows: Tensor) -> Tensor:
        """Takes the tokens, `(tokens, dim)`, from `(rows, dim, time)`."""
        dense = rearrange(rows, "rows dim time -> (rows time) dim")
        return dense.index_select(0, self.packing.index)


class ConformerLayer(nn.Module):
    """Half feed-forward, attention, convolution in time, half feed-forward, and a norm."""

    BRANCHES = 4  # residual branches that drop path may drop

    def __init__(self, settings: Conformer) -> None:
        super().__init__()
        dim = settings.dim
        self.heads = settings.heads
        self.first = HalfFeedForward(dim, settings.mlp_dim)
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.convolution = TimeConvolution(dim, settings.kernel)
        self.second = HalfFeedForward(dim, settings.mlp_dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: Tensor,
        attention: AttentionContext,
        rows: FrequencyRows,
        path_factors: Tensor | None = None,
    ) -> Tensor:
        """Maps `(tokens, dim)` to `(tokens, dim)`.

        `path_factors`, `(4, tokens, 1)`, scales the residual branches: see `drop_path`.
        """
        tokens = tokens + scale_branch(self.first(tokens), path_factors, 0)
        attended = self_attention(
            self.query_key_value(self.norm_attention(tokens)), self.heads, attention
        )
        tokens = tokens + scale_branch(self.project(attended), path_factors, 1)
        tokens = tokens + scale_branch(self.convolution(tokens, rows), path_factors, 2)
        normed: Tensor = self.norm(tokens + scale_branch(self.second(tokens), path_factors, 3))
        return normed


class HalfFeedForward(nn.Module):
    """A feed-forward module whose output is halved, because each layer has two of them.

    Maps `(tokens, dim)` to `(tokens, dim)`.
    """

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, mlp_dim)
        self.contract = nn.Linear(mlp_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        changed: Tensor = self.contract(F.silu(self.expand(self.norm(tokens))))
        return 0.5 * changed


class TimeConvolution(nn.Module):
    """A gated depthwise convolution over neighbours in time, `(tokens, dim)` to `(tokens, dim)`.

    It does not cross the rows of a sample's grid, and sees zeros in cells without a token.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm_after = nn.LayerNorm(dim)
        self.contract = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, rows: FrequencyRows) -> Tensor:
        gated = F.glu(self.expand(self.norm(tokens)))
        convolved = rows.gather(self.depthwise(rows.scatter(gated)))
        changed: Tensor = self.contract(F.silu(self.norm_after(convolved)))
        return changed
