"""Regularisers: penalties added to the loss to prevent collapse."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.model.prediction import Prediction
from ablate.model.token_norms import segment_means


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


@dataclass(frozen=True, kw_only=True)
class SIGReg(AbstractRegulariser):
    """Penalises features whose distribution is not an isotropic standard Gaussian.

    Balestriero and LeCun, "LeJEPA", 2025, sec. 4. https://arxiv.org/abs/2511.08544
    Features are projected to random directions, drawn anew every step; along each, the
    Epps-Pulley statistic compares their characteristic function with that of a Gaussian, at
    `knots` points from 0 to 3. Unlike the reference code
    (https://github.com/rbalestr-lab/lejepa, MINIMAL.md at eddffdd): the loss of the prediction
    keeps its weight of 1, where the code gives it 1 - `weight`; features are not mapped by a
    further projector.

    Args:
        of: Which features are penalised: the mean of each sample's context features, every
            context feature (`tokens`), or all predictions.
        weight: Weight of the statistic.
        directions: Number of random directions.
        knots: Number of points at which characteristic functions are compared.

    Example:
        regulariser: {type: ablate.model.regularisers.SIGReg, weight: 0.05}
    """

    coupled = True

    of: Literal["context", "tokens", "predicted"] = "context"
    weight: float = 0.05
    directions: int = 256
    knots: int = 17

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"`weight` must not be negative; got {self.weight}")
        if self.directions < 1:
            raise ValueError(f"`directions` must be at least 1; got {self.directions}")
        if self.knots < 2:
            raise ValueError(f"`knots` must be at least 2; got {self.knots}")

    def penalty(self, prediction: Prediction) -> Tensor:
        features = prediction.predicted
        if self.of != "predicted":
            features = prediction.context_features.float()
        if self.of == "context":
            features = segment_means(features, prediction.query.unpadded_context)
        rng = prediction.query.generator("sigreg")
        drawn = torch.randn(features.shape[1], self.directions, generator=rng)
        unit = on_device(drawn / drawn.norm(dim=0), features.device)
        return self.weight * compute_epps_pulley(features @ unit, self.knots)


def compute_epps_pulley(values: Tensor, knots: int) -> Tensor:
    """Computes the mean Epps-Pulley statistic of columns, `(samples, directions)`, a scalar.

    The integral over all points is twice that from 0 to 3, by the trapezoidal rule: the integrand
    is symmetric, and its weight, a Gaussian, is small beyond 3.
    """
    step = 3 / (knots - 1)
    weights = torch.full((knots,), 2 * step)
    weights[0], weights[-1] = step, step
    weights = on_device(weights, values.device)
    points = on_device(torch.linspace(0, 3, knots), values.device)
    gaussian = (-0.5 * points.square()).exp()
    angles = values.unsqueeze(-1) * points
    gap = (angles.cos().mean(dim=0) - gaussian).square() + angles.sin().mean(dim=0).square()
    return (gap @ (weights * gaussian)).mean() * len(values)
