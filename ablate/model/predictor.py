"""The predictor: from the features of the context to the targets.

Assran et al., CVPR 2023, sec. 3 (https://arxiv.org/abs/2301.08243) calls it once per target
block; joint prediction of all targets is that of V-JEPA (Bardes et al., 2024,
https://arxiv.org/abs/2404.08471).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ablate.model.attention import Segments
from ablate.model.masking import Grid
from ablate.model.packing import join
from ablate.model.positions import sine_cosine
from ablate.model.prediction_query import Question
from ablate.model.transformer import Transformer, check_width
from ablate.parts import AS_BEFORE

MaskToken = Literal["learned", "zero", "noise"]
Reads = Literal["context", "targets"]
NOISE = 0.01  # deviation of a mask token that is noise, as in EAT and data2vec 2.0


class Predictor(nn.Module, ABC):
    """Predicts the targets of patches from packed features."""

    reads: Reads  # as its settings say
    by_block: bool

    @abstractmethod
    def forward(self, features: Tensor, question: Question) -> Tensor:
        """Takes (context or target tokens, dim) and gives (asked tokens, target dim).

        The features are those of `question.context`, or of `question.targets` where it `reads`
        these; what it gives is for `question.asked`, in that order. Either may hold filler.
        """

    @abstractmethod
    def flops(self, question: Question) -> int:
        """Counts the floating-point operations of one forward pass, 2 per multiply-add."""


class AbstractPredictor(ABC):
    """The settings of a predictor; subclasses are frozen keyword-only dataclasses."""

    reads: ClassVar[Reads] = "context"  # the places whose features it is given
    by_block: ClassVar[bool] = False  # it is asked for each target block by itself

    @abstractmethod
    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        """Builds the predictor, from features of width `dim` to targets of width `target_dim`.

        Weights are not set yet.
        """


@dataclass(frozen=True, kw_only=True)
class AbstractNarrow(AbstractPredictor):
    """A predictor of attention layers, usually narrower than the encoder."""

    dim: int = 192
    layers: int = 6
    heads: int = 6
    mlp_ratio: float = 4.0  # width of a perceptron over `dim`
    position_scale: float = 1.0  # of the sines that are added, as in the encoder

    def __post_init__(self) -> None:
        check_width(self.dim, self.heads, self.layers)


@dataclass(frozen=True, kw_only=True)
class Joint(AbstractNarrow):
    """A narrow transformer that sees the context and every target patch once, as in V-JEPA."""

    # what stands in for a hidden patch: a learned vector, nothing but its position, or noise
    mask_token: MaskToken = field(default="learned", metadata={AS_BEFORE: "learned"})

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return TransformerPredictor(self, grid, dim, target_dim)


@dataclass(frozen=True, kw_only=True)
class PerTarget(AbstractNarrow):
    """A narrow transformer that is called once per target block: blocks do not see each other.

    As in I-JEPA. A patch that lies in several blocks is predicted several times.
    """

    by_block = True

    mask_token: MaskToken = "learned"  # what stands in for a hidden patch, as in `Joint`

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return TransformerPredictor(self, grid, dim, target_dim)


class TransformerPredictor(Predictor):
    """Context features and mask tokens, with positions, in one segment per sample or block."""

    def __init__(self, settings: Joint | PerTarget, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        self.narrow = nn.Linear(dim, settings.dim)
        self.mask_embedding = mask_embedding(settings.mask_token, settings.dim)
        self.noisy = settings.mask_token == "noise"
        self.transformer = Transformer(
            settings.dim, settings.layers, settings.heads, settings.mlp_ratio
        )
        self.widen = nn.Linear(settings.dim, target_dim)
        positions = settings.position_scale * sine_cosine(grid, settings.dim)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor

    def forward(self, features: Tensor, question: Question) -> Tensor:
        seen = self.narrow(features) + self.positions[question.context.place]
        asked = mask_tokens(self.mask_embedding, self.positions, question, noisy=self.noisy)
        context = question.context
        if self.by_block:
            context, rows = question.repeated_context
            seen = seen.index_select(0, rows)
        joined = join(context, question.asked)
        tokens = torch.cat([seen, asked.to(seen.dtype)]).index_select(0, joined.order)
        tokens = self.transformer(tokens, joined.segments)
        predicted: Tensor = self.widen(tokens.index_select(0, joined.second))
        return predicted

    def flops(self, question: Question) -> int:
        ends = self.narrow.weight.numel() * question.context.segments.total
        ends += self.widen.weight.numel() * question.asked.segments.total
        context = question.repeated_context[0] if self.by_block else question.context
        lengths = zip(context.segments.lengths, question.asked.segments.lengths, strict=True)
        return 2 * ends + self.transformer.flops(Segments(tuple(map(sum, lengths))))


def mask_embedding(kind: MaskToken, dim: int) -> nn.Parameter | None:
    """Returns the vector (dim,) that stands in for a hidden patch, or None if none is learned."""
    return nn.Parameter(torch.zeros(dim)) if kind == "learned" else None


def mask_tokens(
    embedding: nn.Parameter | None, positions: Tensor, question: Question, *, noisy: bool
) -> Tensor:
    """Returns a stand-in for each patch asked for, with its position, (asked tokens, dim).

    `positions` is (patches, dim), a row for each place of the grid.
    """
    place = question.asked.place
    tokens = positions[place]
    if embedding is not None:
        tokens = embedding + tokens
    if noisy:
        tokens = tokens + mask_noise(question, positions)[place]
    return tokens


def mask_noise(question: Question, like: Tensor) -> Tensor:
    """Draws a stand-in for each patch of the grid, in the shape (patches, dim) of `like`.

    All samples of a step share it, so that any slice of a batch is given what the whole is.
    """
    noise = torch.randn(like.shape, generator=question.generator("mask token"))
    return NOISE * noise.to(like.device, non_blocking=True)
