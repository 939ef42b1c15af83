"""A predictor that turns the feature of each hidden patch into its target, and sees no other.

It asks for an encoder that puts a mask embedding in the place of hidden patches and so has a
feature for them: the linear head of data2vec (https://arxiv.org/abs/2202.03555) and wav2vec 2.0
(https://arxiv.org/abs/2006.11477), the perceptron of ATST-Frame
(https://github.com/Audio-WestlakeU/audiossl).
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from ablate.model.masking import Grid
from ablate.model.prediction_query import Question
from ablate.model.predictor import AbstractPredictor, Predictor


@dataclass(frozen=True, kw_only=True)
class PerToken(AbstractPredictor):
    """A perceptron of `layers` matrices on each token; one is a linear head."""

    reads = "targets"

    layers: int = 1
    dim: int = 2048  # of its hidden layers

    def __post_init__(self) -> None:
        for name, value in (("layers", self.layers), ("dim", self.dim)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1; got {value}")

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        return PerTokenPredictor(self, dim, target_dim)


class PerTokenPredictor(Predictor):
    """Matrices, with a GELU between any two."""

    def __init__(self, settings: PerToken, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        widths = [dim, *[settings.dim] * (settings.layers - 1), target_dim]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.perceptron = nn.Sequential(*layers[:-1])

    def forward(self, features: Tensor, question: Question) -> Tensor:
        predicted: Tensor = self.perceptron(features)
        return predicted

    def flops(self, question: Question) -> int:
        weights = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        return 2 * weights * question.asked.segments.total
