"""The predictions of a batch, the values they should have, and the losses between the two."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.model.context_encoding import VisibleTokens
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import Packing
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import TargetValues


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predictions of one batch, in the order of `query.query_tokens`.

    That is the order of `query.targets`, or of `query.blocks` if each block is predicted alone.
    """

    query: PredictionQuery
    predicted: Tensor  # float32 (query tokens, target dim), without filler
    target_values: TargetValues
    visible: VisibleTokens  # output of the context encoder

    @property
    def context(self) -> Packing:
        """The visible patches, one segment per sample; with filler if padded."""
        return self.query.context

    @cached_property
    def context_features(self) -> Tensor:
        """Features of the visible patches, `(tokens, dim)`, without filler."""
        return self.visible.select(self.query.mask.context)

    @property
    def targets(self) -> Packing:
        """Every target patch once, one segment per sample."""
        return self.query.targets

    @property
    def clip_patches(self) -> Packing:
        """Every valid patch, one segment per clip."""
        return self.query.clip_patches

    @property
    def target(self) -> Tensor:
        """The values to predict, float32 `(target tokens, target dim)`."""
        return self.target_values.tokens

    def loss(self, objective: AbstractObjective) -> Tensor:
        """Computes the distance from prediction to target, averaged as `objective` says: scalar."""
        if not self.query.by_block:
            return self.loss_for(self.predicted, objective)
        target = self.target.index_select(0, self.query.block_rows)
        distance = objective.distance(self.predicted, target, self.query)
        if objective.visible != 1.0:
            distance = distance * self._weigh_visible(objective)[self.query.block_rows]
        if objective.reduction == "target":
            return self._mean_of_blocks(distance)
        return self._mean_of_patches(self._average_over_blocks(distance), objective)

    def loss_for(self, predicted: Tensor, objective: AbstractObjective) -> Tensor:
        """Computes the loss of another prediction, one row per target patch.

        `predicted` is `(target tokens, target dim)`.
        """
        distance = objective.distance(predicted, self.target, self.query)
        if objective.visible != 1.0:
            distance = distance * self._weigh_visible(objective)
        if objective.reduction == "target":
            return self._mean_of_blocks(distance.index_select(0, self.query.block_rows))
        return self._mean_of_patches(distance, objective)

    def utterance_loss(self, objective: AbstractObjective) -> Tensor | float:
        """Computes the weighted distance from each summary to the mean target of its whole clip.

        Averaged over samples; 0 if the weight is 0. This is the utterance loss of EAT: Chen et al.,
        IJCAI 2024, sec. 3.2. https://arxiv.org/abs/2401.03497
        """
        if objective.utterance == 0:
            return 0.0
        summary, clip_means = self.visible.encoded.summary, self.target_values.clip_means
        assert summary is not None, "validation refuses encoders without a summary"
        assert clip_means is not None, "validation refuses targets that do not see whole clips"
        distance = objective.distance(summary.float(), clip_means, self.query)
        return objective.utterance * distance.mean()

    def _weigh_visible(self, objective: AbstractObjective) -> Tensor:
        """Returns 1 for hidden target patches and `objective.visible` for others, (tokens,)."""
        is_visible = self.query.mask.context[self.query.target_union]
        weights = torch.where(is_visible, objective.visible, 1.0)
        return on_device(weights, self.target.device)

    def _mean_of_patches(self, distance: Tensor, objective: AbstractObjective) -> Tensor:
        if objective.reduction == "token":
            return distance.mean()
        return _mean_of_segments(distance, self.targets.owner, self.targets.segments.lengths)

    def _mean_of_blocks(self, distance: Tensor) -> Tensor:
        blocks = self.query.blocks.segments
        return _mean_of_segments(distance, self.query.block_index, blocks.lengths)

    def _average_over_blocks(self, distance: Tensor) -> Tensor:
        """Averages `(block tokens,)` over the blocks of each patch, to `(target tokens,)`."""
        rows = self.query.block_rows
        zeros = distance.new_zeros(self.targets.segments.num_tokens)
        counts = zeros.index_add(0, rows, torch.ones_like(distance))
        return zeros.index_add(0, rows, distance) / counts


def _mean_of_segments(distance: Tensor, owner: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Averages `(tokens,)` over the tokens of each segment, then over segments, to a scalar.

    `owner`, int64 `(tokens,)`, is the segment of each token. No segment may be empty.
    """
    counts = on_device(torch.tensor(lengths, dtype=distance.dtype), distance.device)
    sums = torch.zeros_like(counts).index_add(0, owner, distance)
    return (sums / counts).mean()
