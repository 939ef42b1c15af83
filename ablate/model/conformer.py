"""A conformer: attention for what is far in a clip, convolution in time for what is near.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition", Interspeech
2020. https://arxiv.org/abs/2005.08100. Unlike there: the convolution is normed token by token,
because statistics of a batch would mix clips and count padding; positions are a part, rotary by
default, in place of the relative sines of Transformer-XL.
"""

from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.core.random import StepRandom
from ablate.model.device import on_device
from ablate.model.drop_path import check_drop_path, kept_paths
from ablate.model.encoder import AbstractEncoder, Encoded, Encoder, Hidden
from ablate.model.masking import Grid
from ablate.model.packing import Packing
from ablate.model.positions import AbstractPositions, Rotary2D
from ablate.model.stems import AbstractStem, Linear
from ablate.model.transformer import Layers, Scope, check_width, self_attend, times


@dataclass(frozen=True, kw_only=True)
class Conformer(AbstractEncoder):
    """A conformer, by default the small one of Srivastava et al., ICASSP 2022.

    https://arxiv.org/abs/2110.07313 gives 18.4 M and 88.1 M parameters. Its sizes are inferred
    from these: both models have 12 layers and perceptrons of 1024, and `dim` 256 or 768.
    """

    dim: int = 256
    layers: int = 12
    heads: int = 8
    mlp_dim: int = 1024  # of each of the two half perceptrons
    kernel: int = 31  # columns of the grid that the convolution sees, odd
    hidden: Hidden = "replace"  # where dropped, zeros stand in for the neighbours in time
    stem: AbstractStem = field(default=Linear())
    positions: AbstractPositions = field(default=Rotary2D())
    drop_path: float = 0.0  # rate at the last layer, from 0 at the first

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)
        check_drop_path(self.drop_path)
        if self.mlp_dim < 1:
            raise ValueError(f"`mlp_dim` must be at least 1; got {self.mlp_dim}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"`kernel` must be odd, to have a middle; got {self.kernel}")

    def build(self, grid: Grid, pixels: int) -> Encoder:
        return ConformerEncoder(self, grid, pixels)


class ConformerEncoder(Encoder):
    """A stem, positions, and conformer layers, whose last norm is the encoder's."""

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
        # what layers add up stays float32 under autocast, whatever the positions
        tokens = self.project(packing.gather(patches)).float()
        if hidden is not None:
            tokens = torch.where(hidden.unsqueeze(1), self.mask_embedding, tokens)
        tokens = self.positions.add(tokens, packing.place)
        scope = Scope(packing.segments, self.positions.rotation(packing.place))
        kept = kept_paths(
            self._drop_path,
            (len(self.layers), ConformerLayer.BRANCHES),
            packing.segments,
            tokens.device,
            rng=rng,
            copies=packing.copies,
        )
        layers = self.layers.outputs(tokens, scope, Lanes(self._grid, packing), kept=kept)
        return Encoded(layers[-1], layers)

    def flops(self, packing: Packing) -> int:
        segments = packing.segments
        cells = len(segments.lengths) * self._grid.size
        attention = 4 * segments.pairs * self.dim * len(self.layers)
        products = self._weights * segments.total + self._taps * cells
        return self.project.flops(segments.total) + 2 * products + attention


@dataclass(frozen=True)
class Lanes:
    """Where packed tokens lie on the grid: one lane in time for each row of each sample.

    There are samples times `grid.freq` lanes.
    """

    grid: Grid
    packing: Packing

    def spread(self, tokens: Tensor) -> Tensor:
        """Lays (tokens, dim) out as (lanes, dim, time), with zeros where there is no token."""
        filler = self.packing.segments.filler
        if filler is not None:
            tokens = tokens.masked_fill(on_device(filler, tokens.device).unsqueeze(1), 0)
        cells = len(self.packing.segments.lengths) * self.grid.size
        laid = tokens.new_zeros(cells, tokens.shape[1]).index_copy(0, self.packing.index, tokens)
        return rearrange(laid, "(lanes time) dim -> lanes dim time", time=self.grid.time)

    def gather(self, lanes: Tensor) -> Tensor:
        """Takes the tokens, (tokens, dim), from (lanes, dim, time)."""
        laid = rearrange(lanes, "lanes dim time -> (lanes time) dim")
        return laid.index_select(0, self.packing.index)


class ConformerLayer(nn.Module):
    """Half a perceptron, attention, convolution in time, half a perceptron, and a norm."""

    BRANCHES = 4  # that drop path may leave out

    def __init__(self, settings: Conformer) -> None:
        super().__init__()
        dim = settings.dim
        self.heads = settings.heads
        self.first = HalfPerceptron(dim, settings.mlp_dim)
        self.norm_attention = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.convolution = ConvolutionInTime(dim, settings.kernel)
        self.second = HalfPerceptron(dim, settings.mlp_dim)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, scope: Scope, lanes: Lanes, kept: Tensor | None = None
    ) -> Tensor:
        """Takes (tokens, dim); `kept` (4, tokens, 1) multiplies what the branches add."""
        tokens = tokens + times(self.first(tokens), kept, 0)
        attended = self_attend(self.query_key_value(self.norm_attention(tokens)), self.heads, scope)
        tokens = tokens + times(self.project(attended), kept, 1)
        tokens = tokens + times(self.convolution(tokens, lanes), kept, 2)
        normed: Tensor = self.norm(tokens + times(self.second(tokens), kept, 3))
        return normed


class HalfPerceptron(nn.Module):
    """Half of what a two-layer perceptron would add, (tokens, dim): there are two in a layer."""

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, mlp_dim)
        self.contract = nn.Linear(mlp_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        changed: Tensor = self.contract(F.silu(self.expand(self.norm(tokens))))
        return 0.5 * changed


class ConvolutionInTime(nn.Module):
    """A gated convolution over neighbours in time, each dimension by itself, of (tokens, dim).

    It stays within a row of a sample's grid; zeros stand where there is no token.
    """

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, 2 * dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm_after = nn.LayerNorm(dim)
        self.contract = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, lanes: Lanes) -> Tensor:
        gated = F.glu(self.expand(self.norm(tokens)))
        near = lanes.gather(self.depthwise(lanes.spread(gated)))
        changed: Tensor = self.contract(F.silu(self.norm_after(near)))
        return changed
