"""A head that scores classes of predictions, and a predictor that has one.

The classification task of MATPAC: Quelennec et al., "Masked Latent Prediction and Classification
for Self-Supervised Audio Representation Learning", ICASSP 2025, https://arxiv.org/abs/2502.12031;
code: https://github.com/aurianworld/matpac at b0e2dc7, training_matpac/models/cls_head.py:40-83.
The head is that of DINO (Caron et al., ICCV 2021, https://arxiv.org/abs/2104.14294). The three
parts belong together: the predictor `ClassHead`, the target `ablate.model.class_target.Classes`,
and the objective `ablate.model.class_objective.DistanceAndClasses`.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ablate.model.masking import Grid
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractPredictor, Predictor, Reads


@dataclass(frozen=True, kw_only=True)
class ClassHead(AbstractPredictor):
    """Another predictor, whose predictions are also scored by a head of several layers.

    Args:
        predictor: The other predictor, of features as wide as those of the encoder.
        depth: Number of linear layers before the classes.
        hidden: Width of the hidden layers.
        bottleneck: Width of the unit vectors that are compared with the classes.

    Example:
        predictor: {type: ablate.model.class_head.ClassHead, hidden: 2048,
          predictor: {type: ablate.model.predictor.Joint, dim: 512, layers: 8, heads: 16}}
    """

    predictor: AbstractPredictor
    depth: int = 3
    hidden: int = 2048
    bottleneck: int = 256

    def __post_init__(self) -> None:
        for name in ("depth", "hidden", "bottleneck"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")

    @property
    def reads(self) -> Reads:  # type: ignore[override]  # that of the other predictor
        """Which patches' features are the input."""
        return self.predictor.reads

    @property
    def by_block(self) -> bool:  # type: ignore[override]  # that of the other predictor
        """Whether each target block is predicted in a separate pass."""
        return self.predictor.by_block

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        if target_dim <= dim:
            raise ValueError(
                "`ClassHead` scores classes, and the target has none; use "
                "`ablate.model.class_target.Classes` as the target"
            )
        return ClassHeadPredictor(self, self.predictor.build(grid, dim, dim), dim, target_dim - dim)


class ClassHeadPredictor(Predictor):
    """Puts the scores of the head next to each prediction, `(query tokens, dim + classes)`."""

    def __init__(self, settings: ClassHead, inner: Predictor, dim: int, classes: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        self.inner = inner
        widths = [dim, *[settings.hidden] * (settings.depth - 1), settings.bottleneck]
        self.head = Head(widths, classes)

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        predicted = self.inner(features, query)
        return torch.cat([predicted.float(), self.head(predicted).float()], dim=-1)

    def flops(self, query: PredictionQuery) -> int:
        return self.inner.flops(query) + self.head.flops(query.query_tokens.segments.num_tokens)


class Head(nn.Module):
    """A perceptron, and the products of its normalised output with a vector per class.

    The vector of a class is a learned direction with a learned length, which begins at 1.

    Args:
        widths: Widths of the input, the hidden layers and the output of the perceptron.
        classes: Number of classes.
    """

    def __init__(self, widths: list[int], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.perceptron = nn.Sequential(*layers[:-1])
        self.direction = nn.Parameter(torch.empty(classes, widths[-1]))
        self.weight = nn.Parameter(torch.empty(classes))  # lengths; initialised with 1

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps `(tokens, dim)` to scores, `(tokens, classes)`."""
        unit = F.normalize(self.perceptron(tokens), dim=-1)
        classes = self.weight.unsqueeze(1) * F.normalize(self.direction, dim=-1)
        return F.linear(unit, classes)

    def flops(self, tokens: int) -> int:
        """Counts the floating-point operations for a number of tokens, 2 per multiply-add."""
        return 2 * tokens * sum(p.numel() for p in self.parameters() if p.dim() == 2)
