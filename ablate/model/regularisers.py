"""Regularisers: what is added to the loss to keep features apart."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ablate.model.prediction import Prediction
from ablate.model.targets import segment_means


class AbstractRegulariser(ABC):
    """A penalty on a prediction. Subclasses are frozen keyword-only dataclasses."""

    coupled: ClassVar[bool] = False  # its penalty of a batch is no mean over parts: never cut it

    @abstractmethod
    def penalty(self, prediction: Prediction) -> Tensor:
        """Returns what is added to the loss, a scalar, weighted already."""


@dataclass(frozen=True, kw_only=True)
class VarianceCovariance(AbstractRegulariser):
    """Keeps the deviation of each dimension up and the covariance of any two down.

    Bardes et al., "VICReg", ICLR 2022, sec. 4.1. https://arxiv.org/abs/2105.04906
    Its weights of 25 and 1 stand beside one of 25 on the distance, which is 1 here. What is kept
    apart is the mean of each sample's context features, (samples, dim), or every predicted token.
    """

    coupled = True

    of: Literal["context", "predicted"] = "context"  # what is kept apart
    variance: float = 1.0  # weight of the hinge on the deviation
    covariance: float = 0.04  # weight of the squared covariances
    deviation: float = 1.0  # below which a dimension is penalised, in the features' unit

    def __post_init__(self) -> None:
        for name in ("variance", "covariance", "deviation"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")

    def penalty(self, prediction: Prediction) -> Tensor:
        features = prediction.predicted
        if self.of == "context":
            packing = prediction.question.visible
            features = segment_means(prediction.context_features.float(), packing)
        centred = features - features.mean(dim=0)
        covariance = centred.T @ centred / (len(features) - 1)
        low = (self.deviation - (covariance.diagonal() + 1e-4).sqrt()).relu().mean()
        off = covariance.square().sum() - covariance.diagonal().square().sum()
        return self.variance * low + self.covariance * off / len(covariance)
