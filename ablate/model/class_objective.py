"""A distance of predictions and a cross entropy of their classes, weighted."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ablate.model.masking import check_range
from ablate.model.objectives import AbstractObjective, Cosine
from ablate.model.prediction_query import PredictionQuery


@dataclass(frozen=True, kw_only=True)
class DistanceAndClasses(AbstractObjective):
    """The loss of MATPAC: a distance, and the cross entropy of classes, in nats.

    Belongs to the target `ablate.model.class_target.Classes`. Code:
    https://github.com/aurianworld/matpac at b0e2dc7, training_matpac/models/cls_head.py:108-128 and
    config/matpac.yaml:31-33.

    Args:
        reduction: What the loss weights equally: every sample, every target patch (`token`) or
            every target block (`target`).
        utterance: Must be 0: summaries have no classes.
        visible: Weight of target patches that the encoder sees, if the masker has some; see
            `maskers.PredictVisible`.
        objective: The distance; its `reduction` and weights are not used.
        classes: Number of classes of the target.
        share: Weight of the cross entropy; that of the distance is 1 - `share`.
        temperature: Divisor of the predicted scores.

    Example:
        objective: {type: ablate.model.class_objective.DistanceAndClasses, classes: 2048}
    """

    objective: AbstractObjective = field(default_factory=Cosine)
    classes: int = 2048
    share: float = 0.5
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("share", self.share, low=0, high=1)
        if self.classes < 2:
            raise ValueError(f"`classes` must be at least 2; got {self.classes}")
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be above 0; got {self.temperature}")
        if self.objective.discrete or self.objective.contrastive or self.objective.coupled:
            name = type(self.objective).__name__
            raise ValueError(f"`objective` must be a distance, such as Cosine; got {name}")

    def distance(self, predicted: Tensor, target: Tensor, query: PredictionQuery) -> Tensor:
        values, scores = self._split(predicted)
        target_values, classes = self._split(target)
        distance = self.objective.distance(values, target_values, query)
        entropy = -((scores / self.temperature).log_softmax(dim=-1) * classes).sum(dim=-1)
        return (1 - self.share) * distance + self.share * entropy

    def predict_from_mean(self, mean: Tensor) -> Tensor:
        values, classes = self._split(mean)
        scores = self.temperature * (classes + 1e-6).log()
        return torch.cat([self.objective.predict_from_mean(values), scores], dim=-1)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return tokens[..., : -self.classes], tokens[..., -self.classes :]
