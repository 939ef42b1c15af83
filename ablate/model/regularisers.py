"""Regularisers: penalties added to the loss to prevent collapse."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ablate.model.prediction import Prediction
from ablate.model.targets import segment_means


class AbstractRegulariser(ABC):
    """A penalty on a prediction. Subclasses are frozen keyword-only dataclasses.

    A subclass implements `penalty`, for example the mean square of the predictions:

        return self.weight * prediction.predicted.square().mean()
    """

    # the penalty of a batch is not the mean over its slices, so a batch must not be divided
    coupled: ClassVar[bool] = False

    @abstractmethod
    def penalty(self, prediction: Prediction) -> Tensor:
        """Computes the weighted penalty on `prediction` to add to the loss, a scalar."""


@dataclass(frozen=True, kw_only=True)
class VarianceCovariance(AbstractRegulariser):
    """Penalises low standard deviation per dimension and covariance between dimensions.

    Bardes et al., "VICReg", ICLR 2022, sec. 4.1. https://arxiv.org/abs/2105.04906
    The paper weights variance, covariance and distance by 25, 1 and 25; here the distance has
    weight 1, so the defaults are divided by 25. The penalty applies to the mean of each sample's
    context features, `(samples, dim)`, or to all predicted tokens.

    Args:
        of: Which features are penalised.
        variance: Weight of the hinge loss on the standard deviation.
        covariance: Weight of the squared covariances.
        deviation: Standard deviation below which a dimension is penalised.

    Example:
        regulariser: {type: ablate.model.regularisers.VarianceCovariance, covariance: 0.04}
    """

    coupled = True

    of: Literal["context", "predicted"] = "context"
    variance: float = 1.0
    covariance: float = 0.04
    deviation: float = 1.0

    def __post_init__(self) -> None:
        for name in ("variance", "covariance", "deviation"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")

    def penalty(self, prediction: Prediction) -> Tensor:
        features = prediction.predicted
        if self.of == "context":
            packing = prediction.query.unpadded_context
            features = segment_means(prediction.context_features.float(), packing)
        centred = features - features.mean(dim=0)
        covariance = centred.T @ centred / (len(features) - 1)
        low = (self.deviation - (covariance.diagonal() + 1e-4).sqrt()).relu().mean()
        off = covariance.square().sum() - covariance.diagonal().square().sum()
        return self.variance * low + self.covariance * off / len(covariance)
