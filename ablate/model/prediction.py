"""What was predicted for a batch, what it should have been, and how far apart they are."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ablate.model.context_encoding import Shown
from ablate.model.device import on_device
from ablate.model.objectives import AbstractObjective
from ablate.model.packing import Packing
from ablate.model.prediction_query import Question
from ablate.model.targets import Goal


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A batch's predictions, in the order in which its question asks for them.

    Those are its `targets`, or its `blocks` where each block is asked for by itself.
    """

    question: Question
    predicted: Tensor  # float32 (asked tokens, target dim), without filler
    goal: Goal
    shown: Shown  # what the context encoder gave, and for what

    @property
    def context(self) -> Packing:
        """The visible patches, a segment per sample; with filler if padded."""
        return self.question.context

    @cached_property
    def context_features(self) -> Tensor:
        """What the context encoder gave for the visible patches, (tokens, dim), no filler."""
        return self.shown.at(self.question.mask.context)

    @property
    def targets(self) -> Packing:
        """Every target patch once, a segment per sample."""
        return self.question.targets

    @property
    def whole(self) -> Packing:
        """Every real patch, a segment per clip."""
        return self.question.whole

    @property
    def target(self) -> Tensor:
        """What should have been predicted, float32 (target tokens, target dim)."""
        return self.goal.tokens

    def loss(self, objective: AbstractObjective) -> Tensor:
        """Returns the distance from prediction to target, a scalar averaged as `objective` says."""
        if not self.question.by_block:
            return self.against(self.predicted, objective)
        target = self.target.index_select(0, self.question.block_rows)
        distance = objective.distance(self.predicted, target, self.question)
        if objective.reduction == "target":
            return self._mean_of_blocks(distance)
        return self._mean_of_patches(self._averaged_over_blocks(distance), objective)

    def against(self, predicted: Tensor, objective: AbstractObjective) -> Tensor:
        """The loss of another prediction: one row per target patch, (target tokens, target dim)."""
        distance = objective.distance(predicted, self.target, self.question)
        if objective.reduction == "target":
            return self._mean_of_blocks(distance.index_select(0, self.question.block_rows))
        return self._mean_of_patches(distance, objective)

    def utterance_loss(self, objective: AbstractObjective) -> Tensor | float:
        """The weighted distance from each sample's summary to the mean target of its whole clip.

        The mean over samples, 0 without a weight. That of EAT: Chen et al., IJCAI 2024, sec. 3.2.
        https://arxiv.org/abs/2401.03497
        """
        if objective.utterance == 0:
            return 0.0
        summary, goal = self.shown.encoded.summary, self.goal.clips
        assert summary is not None, "refused when it was planned"
        assert goal is not None, "refused when it was planned"
        distance = objective.distance(summary.float(), goal, self.question)
        return objective.utterance * distance.mean()

    def _mean_of_patches(self, distance: Tensor, objective: AbstractObjective) -> Tensor:
        if objective.reduction == "token":
            return distance.mean()
        return _mean_of_segments(distance, self.targets.owner, self.targets.segments.lengths)

    def _mean_of_blocks(self, distance: Tensor) -> Tensor:
        blocks = self.question.blocks.segments
        return _mean_of_segments(distance, self.question.block_numbers, blocks.lengths)

    def _averaged_over_blocks(self, distance: Tensor) -> Tensor:
        """Averages (block tokens,) over the blocks that each patch lies in, to (target tokens,)."""
        rows = self.question.block_rows
        empty = distance.new_zeros(self.targets.segments.total)
        times = empty.index_add(0, rows, torch.ones_like(distance))
        return empty.index_add(0, rows, distance) / times


def _mean_of_segments(distance: Tensor, owner: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Averages (tokens,) over the tokens of each segment, then over segments, to a scalar.

    `owner`, int64 (tokens,), says which segment a token is of; none may be empty.
    """
    counts = on_device(torch.tensor(lengths, dtype=distance.dtype), distance.device)
    sums = torch.zeros_like(counts).index_add(0, owner, distance)
    return (sums / counts).mean()
