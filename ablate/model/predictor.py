"""The predictor interface, and the transformer predictors of I-JEPA and V-JEPA.

I-JEPA (Assran et al., CVPR 2023, sec. 3, https://arxiv.org/abs/2301.08243) predicts each target
block in a separate pass; V-JEPA (Bardes et al., 2024, https://arxiv.org/abs/2404.08471) predicts
all targets jointly.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.core.device import on_device
from ablate.model.masking import Grid
from ablate.model.packing import join
from ablate.model.positions import sine_cosine
from ablate.model.prediction_query import PredictionQuery
from ablate.model.segments import Segments
from ablate.model.transformer import Norm, Transformer, check_width
from ablate.parts import AS_BEFORE

MaskToken = Literal["learned", "zero", "noise"]
Reads = Literal["context", "targets"]
NOISE = 0.01  # standard deviation of `noise` mask tokens, as in EAT and data2vec 2.0


class Predictor(nn.Module, ABC):
    """Predicts the targets of patches from packed features."""

    reads: Reads  # as in the settings
    by_block: bool  # as in the settings

    @abstractmethod
    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        """Predicts the target of every query token.

        Args:
            features: Features of `query.context`, `(context tokens, dim)`; of `query.targets`,
                `(target tokens, dim)`, if `reads` is `targets`. May include filler tokens.
            query: Which patches are visible and which to predict.

        Returns:
            `(query tokens, target dim)`, in the order of `query.query_tokens`.
        """

    @abstractmethod
    def flops(self, query: PredictionQuery) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""


class AbstractPredictor(ABC):
    """Settings of a predictor; subclasses are frozen keyword-only dataclasses.

    Example:
        >>> from ablate.model.masking import Grid
        >>> from ablate.model.predictor import Joint
        >>> predictor = Joint(dim=32, heads=4).build(Grid(freq=4, time=8), dim=64, target_dim=64)
        >>> predictor.reads
        'context'
    """

    reads: ClassVar[Reads] = "context"  # which patches' features are its input
    by_block: ClassVar[bool] = False  # each target block is predicted in a separate pass

    @abstractmethod
    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        """Builds the predictor. Its weights are not set yet.

        Args:
            grid: The grid of the patches.
            dim: Width of the encoder's features.
            target_dim: Width of the targets.
        """


@dataclass(frozen=True, kw_only=True)
class AbstractNarrow(AbstractPredictor):
    """Settings of an attention predictor, usually narrower than the encoder.

    Args:
        dim: Width of the predictor's tokens.
        layers: Number of layers.
        heads: Number of attention heads per layer.
        mlp_ratio: Hidden width of the feed-forward modules, relative to `dim`.
        position_scale: Factor of the added sine-cosine positions.
    """

    dim: int = 192
    layers: int = 6
    heads: int = 6
    mlp_ratio: float = 4.0
    position_scale: float = 1.0

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)


@dataclass(frozen=True, kw_only=True)
class Joint(AbstractNarrow):
    """A narrow transformer over the context and all target patches jointly, as in V-JEPA.

    Args:
        dim: Width of the predictor's tokens.
        layers: Number of layers.
        heads: Number of attention heads per layer.
        mlp_ratio: Hidden width of the feed-forward modules, relative to `dim`.
        position_scale: Factor of the added sine-cosine positions.
        mask_token: Placeholder of a hidden patch, to which its position is added: a learned vector,
            zero, or noise.
        num_mask_tokens: Number of learned mask tokens, which the masks of a clip use in turn: one
            for each kind of mask in V-JEPA.
        norm: Whether layers are normalised before (`pre`) or after (`post`) their branches.

    Example:
        predictor: {type: ablate.model.predictor.Joint, dim: 192, layers: 6, heads: 6}
    """

    mask_token: MaskToken = field(default="learned", metadata={AS_BEFORE: "learned"})
    num_mask_tokens: int = field(default=1, metadata={AS_BEFORE: 1})
    norm: Norm = field(default="pre", metadata={AS_BEFORE: "pre"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_mask_tokens < 1:
            raise ValueError(f"`num_mask_tokens` must be at least 1; got {self.num_mask_tokens}")
        if self.num_mask_tokens > 1 and self.mask_token != "learned":
            raise ValueError(
                f"`num_mask_tokens` {self.num_mask_tokens} needs `mask_token: learned`; "
                f"got `{self.mask_token}`"
            )

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return TransformerPredictor(self, grid, dim, target_dim)


@dataclass(frozen=True, kw_only=True)
class PerTarget(AbstractNarrow):
    """A narrow transformer applied to each target block separately, as in I-JEPA.

    Blocks do not attend to each other. A patch in several blocks is predicted once for each.

    Args:
        dim: Width of the predictor's tokens.
        layers: Number of layers.
        heads: Number of attention heads per layer.
        mlp_ratio: Hidden width of the feed-forward modules, relative to `dim`.
        position_scale: Factor of the added sine-cosine positions.
        mask_token: Placeholder of a hidden patch, to which its position is added: a learned vector,
            zero, or noise.
        norm: Whether layers are normalised before (`pre`) or after (`post`) their branches.

    Example:
        predictor: {type: ablate.model.predictor.PerTarget, dim: 192, layers: 6, heads: 6}
    """

    by_block = True

    mask_token: MaskToken = "learned"
    norm: Norm = field(default="pre", metadata={AS_BEFORE: "pre"})

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return TransformerPredictor(self, grid, dim, target_dim)


class TransformerPredictor(Predictor):
    """A transformer over context features and mask tokens, one segment per sample or block."""

    def __init__(self, settings: Joint | PerTarget, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        self.narrow = nn.Linear(dim, settings.dim)
        count = settings.num_mask_tokens if isinstance(settings, Joint) else 1
        self.mask_embedding = mask_embedding(settings.mask_token, settings.dim, count)
        self.noisy = settings.mask_token == "noise"
        self.transformer = Transformer(
            settings.dim, settings.layers, settings.heads, settings.mlp_ratio, settings.norm
        )
        self.widen = nn.Linear(settings.dim, target_dim)
        positions = settings.position_scale * sine_cosine(grid, settings.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        packing = query.context
        context = self.narrow(features) + self.positions[packing.place]
        queries = mask_tokens(self.mask_embedding, self.positions, query, noisy=self.noisy)
        if self.by_block:
            packing, rows = query.repeated_context
            context = context.index_select(0, rows)
        joined = join(packing, query.query_tokens)
        tokens = torch.cat([context, queries.to(context.dtype)]).index_select(0, joined.order)
        tokens = self.transformer(tokens, joined.segments)
        predicted: Tensor = self.widen(tokens.index_select(0, joined.second))
        return predicted

    def flops(self, query: PredictionQuery) -> int:
        ends = self.narrow.weight.numel() * query.context.segments.num_tokens
        ends += self.widen.weight.numel() * query.query_tokens.segments.num_tokens
        context = query.repeated_context[0] if self.by_block else query.context
        lengths = zip(context.segments.lengths, query.query_tokens.segments.lengths, strict=True)
        return 2 * ends + self.transformer.flops(Segments(tuple(map(sum, lengths))))


def mask_embedding(kind: MaskToken, dim: int, count: int = 1) -> nn.Parameter | None:
    """Returns the learned mask embedding, or None if `kind` has none.

    It is `(dim,)`, or `(count, dim)` if there are several.
    """
    shape = (dim,) if count == 1 else (count, dim)
    return nn.Parameter(torch.zeros(shape)) if kind == "learned" else None


def mask_tokens(
    embedding: Tensor | None, positions: Tensor, query: PredictionQuery, *, noisy: bool
) -> Tensor:
    """Returns the mask token of each query token plus its position, `(query tokens, dim)`.

    `positions` is `(patches, dim)`, one row per cell of the grid.
    """
    place = query.query_tokens.place
    tokens = positions[place]
    if embedding is not None and embedding.dim() == 2:
        mask_of_clip = query.query_tokens.owner % query.copies
        embedding = embedding[mask_of_clip % len(embedding)]
    if embedding is not None:
        tokens = embedding + tokens
    if noisy:
        tokens = tokens + mask_noise(query, positions)[place]
    return tokens


def mask_noise(query: PredictionQuery, like: Tensor) -> Tensor:
    """Draws a noise mask token for each patch of the grid, in the shape `(patches, dim)` of `like`.

    All samples of a step share it, so that the noise does not depend on how a batch is sliced.
    """
    noise = torch.randn(like.shape, generator=query.generator("mask token"))
    return NOISE * on_device(noise, like.device)
