"""A predictor that maps the feature of each hidden patch to its target, token by token.

It needs an encoder that replaces hidden patches by a mask embedding, and so has a feature for each:
the linear head of data2vec (https://arxiv.org/abs/2202.03555) and wav2vec 2.0
(https://arxiv.org/abs/2006.11477), the perceptron of ATST-Frame
(https://github.com/Audio-WestlakeU/audiossl).
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from ablate.model.masking import Grid
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractPredictor, Predictor


@dataclass(frozen=True, kw_only=True)
class PerToken(AbstractPredictor):
    """A perceptron of `layers` linear layers applied to each token; one is a linear head.

    Args:
        layers: Number of linear layers.
        dim: Width of the hidden layers.

    Example:
        predictor: {type: ablate.model.per_token.PerToken, layers: 2, dim: 2048}
    """

    reads = "targets"

    layers: int = 1
    dim: int = 2048

    def __post_init__(self) -> None:
        for name, value in (("layers", self.layers), ("dim", self.dim)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1; got {value}")

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return PerTokenPredictor(self, dim, target_dim)


class PerTokenPredictor(Predictor):
    """Linear layers with GELU in between."""

    def __init__(self, settings: PerToken, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        widths = [dim, *[settings.dim] * (settings.layers - 1), target_dim]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.perceptron = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        predicted: Tensor = self.perceptron(features)
        return predicted

    def flops(self, query: PredictionQuery) -> int:
        weights = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        return 2 * weights * query.query_tokens.segments.num_tokens
