"""Health of a run: whether the features keep their rank, and whether the context is used.

The loss alone does not show this: a JEPA's loss rises in healthy runs and falls in collapse. We
watch the effective rank of the features, and compare the loss with a baseline that ignores the
context and predicts each target by its position.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.objectives import AbstractObjective
from ablate.model.packing import Packing
from ablate.model.prediction import Prediction
from ablate.training.lidar import compute_gap, compute_lidar


@dataclass(frozen=True)
class Health:
    """Spread of the features, which falls in a collapse."""

    effective_rank: float  # see `effective_rank`
    feature_std: float  # standard deviation over tokens, averaged over dimensions
    lidar: float | None = None  # see `compute_lidar`
    ema_gap: float | None = None  # see `compute_gap`; None without a moving average

    @classmethod
    def measure(cls, features: Tensor, packing: Packing, online: Tensor | None = None) -> "Health":
        """Measures the features of an encoder.

        Args:
            features: `(tokens, dim)` of the probed encoder, two tokens or more.
            packing: The tokens of every clip.
            online: The features of the context encoder, if the probed one is its moving average.
        """
        return cls(
            effective_rank(features),
            float(features.float().std(dim=0).mean()),
            compute_lidar(features, packing.owner, len(packing.segments.lengths)),
            None if online is None else compute_gap(online, features),
        )

    def has_collapsed(self, start: "Health") -> bool:
        """Whether the rank fell below half of its value before training.

        A partial collapse leaves the deviation high and the loss low; only the rank shows it.
        """
        return self.effective_rank < start.effective_rank / 2


def effective_rank(features: Tensor) -> float:
    """Computes exp(entropy) of the normalised singular values of centred features.

    Roy and Vetterli, "The effective rank", EUSIPCO 2007; used as RankMe, without centring, by
    Garrido et al., ICML 2023. https://arxiv.org/abs/2210.02885

    Args:
        features: (tokens, dim).

    Returns:
        From 1 (all on one line) to `dim`; 0 if all tokens are equal, NaN if one is not finite.
    """
    features = features.float()  # centring in bfloat16 would round small differences away
    centred = (features - features.mean(dim=0)).double()
    if not centred.isfinite().all():
        return float("nan")
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).sqrt()
    if values.sum() < 1e-9:
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


class PositionBaseline:
    """Predicts a target by the running mean of the targets at its position, without context.

    It predicts 0 before the first update. Targets of a step weigh `decay` times those of the next.

    Args:
        patches: Number of grid positions.
        dim: Width of the targets.
        device: Device of the running means.
        decay: Factor per step.
    """

    def __init__(self, patches: int, dim: int, device: torch.device, decay: float = 0.98) -> None:
        self._sum = torch.zeros(patches, dim, device=device)
        self._weight = torch.full((patches, 1), 1e-6, device=device)
        # sums of a step's targets and, in the last column, their counts; ranks add these up
        self.pending = torch.zeros(patches, dim + 1, device=device)
        self._decay = decay

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the running means, without pending targets."""
        return {"sum": self._sum, "weight": self._weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the running means."""
        self._sum.copy_(state["sum"])
        self._weight.copy_(state["weight"])

    def loss(self, prediction: Prediction, objective: AbstractObjective) -> Tensor:
        """Computes the loss of this baseline, a scalar, on targets that it has not seen yet."""
        mean = (self._sum / self._weight).index_select(0, prediction.targets.place)
        return prediction.loss_for(objective.predict_from_mean(mean), objective)

    def accumulate(self, prediction: Prediction) -> None:
        """Adds the targets of one micro-batch to `pending`."""
        place = prediction.targets.place
        self.pending[:, :-1].index_add_(0, place, prediction.target.detach())
        self.pending[:, -1].index_add_(0, place, torch.ones_like(prediction.target[:, 0]))

    def discard_pending(self) -> None:
        """Clears the pending targets."""
        self.pending.zero_()

    def update(self) -> None:
        """Adds the pending targets of a step to the running means, and clears them."""
        self._sum.mul_(self._decay).add_(self.pending[:, :-1])
        self._weight.mul_(self._decay).add_(self.pending[:, -1:])
        self.discard_pending()
