"""Next-embedding prediction: a causal encoder predicts each patch from those before it.

Xu et al., "Next-Embedding Prediction Makes Strong Vision Learners" (NEPA), 2025.
https://arxiv.org/abs/2512.16922; code: https://github.com/SihanXU/nepa at 15ea494,
models/vit_nepa/modeling_vit_nepa.py:43-74,298-308,823-877 and run_nepa.py:84,143-167.

The order is that of time, and within a column from low to high frequencies. Unlike the code, which
reads an image row by row and predicts the first patch from a class token: the first patch is not
predicted.
"""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.moving_average import move_towards
from ablate.model.prediction_query import PredictionQuery
from ablate.model.predictor import AbstractPredictor, Predictor
from ablate.model.targets import AbstractTarget, DrawPatches, Target, TargetValues
from ablate.model.token_sequence import rank_in_time


@dataclass(frozen=True, kw_only=True)
class NextPatch(AbstractPredictor):
    """Predicts each target patch from the feature of the patch before it.

    With no layers the feature itself is the prediction, as in the code. It needs an encoder with
    `causal: true`, and a masker that shows every patch, such as `maskers.EveryPatch`.

    Args:
        layers: Number of linear layers between a feature and a prediction, with GELU in between.
        dim: Width of the hidden layers.

    Example:
        predictor: {type: ablate.model.next_patch.NextPatch, layers: 0}
    """

    layers: int = 0
    dim: int = 2048

    def __post_init__(self) -> None:
        if self.layers < 0:
            raise ValueError(f"`layers` must not be negative; got {self.layers}")
        if self.dim < 1:
            raise ValueError(f"`dim` must be at least 1; got {self.dim}")

    def build(self, grid: Grid, dim: int, target_dim: int) -> Predictor:
        if self.layers == 0 and dim != target_dim:
            raise ValueError(
                f"without layers a feature of width {dim} is the prediction, but the target has "
                f"width {target_dim}; set `layers: 1` or more"
            )
        return NextPatchPredictor(self, grid, dim, target_dim)


class NextPatchPredictor(Predictor):
    """Takes the feature before each target, and maps it by linear layers, if there are any."""

    def __init__(self, settings: NextPatch, grid: Grid, dim: int, target_dim: int) -> None:
        super().__init__()
        self.reads = settings.reads
        self.by_block = settings.by_block
        widths = [dim, *[settings.dim] * (settings.layers - 1), target_dim]
        layers: list[nn.Module] = []
        if settings.layers:
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), nn.GELU()]
        self.perceptron = nn.Sequential(*layers[:-1])
        self._grid = grid

    def forward(self, features: Tensor, query: PredictionQuery) -> Tensor:
        before = features.index_select(0, find_previous(query, self._grid))
        predicted: Tensor = self.perceptron(before)
        return predicted

    def flops(self, query: PredictionQuery) -> int:
        weights = sum(p.numel() for p in self.parameters() if p.dim() == 2)
        return 2 * weights * query.query_tokens.segments.num_tokens


def find_previous(query: PredictionQuery, grid: Grid) -> Tensor:
    """Finds the row of `query.context` before each of `query.query_tokens`, int64 `(tokens,)`.

    Raises:
        ValueError: The patch before a target is not visible, or a target is the first patch.
    """
    tokens, context = query.query_tokens, query.context
    rank = rank_in_time(tokens.place, grid) - 1
    place = rank % grid.freq * grid.time + rank.div(grid.freq, rounding_mode="floor")
    cells = len(query.mask.context) * context.patches
    rows = torch.full((cells,), -1, device=context.index.device)
    rows[context.index] = torch.arange(len(context.index), device=rows.device)
    previous = rows[tokens.owner * context.patches + place.clamp(min=0)]
    if query.device.type == "cpu" and bool(((previous < 0) | (rank < 0)).any()):
        raise ValueError(
            "a target has no visible patch before it; use a masker that shows every patch, such "
            "as `maskers.EveryPatch`"
        )
    return previous


@dataclass(frozen=True, kw_only=True)
class PatchEmbedding(AbstractTarget):
    """What the context encoder makes of each target patch before its layers and its positions.

    Without gradient. The encoder that is evaluated is a moving average of the context encoder, as
    in the code (momentum 0.9999).

    Example:
        target: {type: ablate.model.next_patch.PatchEmbedding}
    """

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return PatchEmbeddingTarget(encoder)


class PatchEmbeddingTarget(Target):
    """Reads the stem of the context encoder, and keeps a moving average of the encoder."""

    encoder: Encoder

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.dim = encoder.dim
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False)
        self._online = (encoder,)  # in a tuple, so that its weights are not registered twice

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Does nothing: no preparation needed."""

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        return TargetValues(self._online[0].embed(patches, query.targets).float())

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Moves the encoder that is evaluated towards the context encoder."""
        move_towards(self.encoder, encoder, momentum)
