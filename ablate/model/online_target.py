"""A target that is the context encoder itself, through which gradients flow.

Without a stop-gradient nothing but a regulariser prevents that all features become equal: use
`ablate.model.regularisers.SIGReg` or `VarianceCovariance` with it.
"""

from dataclasses import dataclass

from torch import Tensor

from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import find_rows
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import AbstractTarget, DrawPatches, Target, TargetValues


@dataclass(frozen=True, kw_only=True)
class Online(AbstractTarget):
    """Features of the context encoder for whole clips, with gradient: no moving average.

    Balestriero and LeCun, "LeJEPA", 2025. https://arxiv.org/abs/2511.08544

    Example:
        target: {type: ablate.model.online_target.Online}
    """

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return OnlineTarget(encoder)


class OnlineTarget(Target):
    """Reads the context encoder, whose weights it shares and does not hold."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.dim = encoder.dim
        self.encoder = None
        self._shared = (encoder,)  # in a tuple, so that its weights are not registered twice

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Does nothing: no preparation needed."""

    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        tokens = self._shared[0](patches, query.clip_patches).tokens.float()
        rows = find_rows(query.target_union, query.valid, patches.device, copies=query.copies)
        return TargetValues(tokens.index_select(0, rows))

    def flops(self, query: PredictionQuery) -> int:
        return 3 * self._shared[0].flops(query.clip_patches)  # with the backward pass

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Does nothing: the weights are those of the context encoder."""
