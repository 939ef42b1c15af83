"""Health of a run: does it learn, and from its context? The loss alone cannot tell.

A JEPA's loss rises in healthy runs and falls in collapse, so what is watched is the effective
rank of the features, and the loss beside that of guessing each target by its position.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ablate.model.objectives import AbstractObjective
from ablate.model.prediction import Prediction


@dataclass(frozen=True)
class Health:
    """The spread of (tokens, dim) features, by which a collapse is known."""

    effective_rank: float  # see `effective_rank`
    feature_std: float  # over tokens, averaged over dimensions

    @classmethod
    def of(cls, features: Tensor) -> "Health":
        """Measures (tokens, dim), two tokens or more."""
        return cls(effective_rank(features), float(features.float().std(dim=0).mean()))

    def collapsed(self, start: "Health") -> bool:
        """Whether the rank fell below half of what it was before training.

        Partial collapse leaves the deviation high and the loss low; only the rank shows it.
        """
        return self.effective_rank < start.effective_rank / 2


def effective_rank(features: Tensor) -> float:
    """Returns exp(entropy) of the normalised singular values of centred (tokens, dim) features.

    From 1, a line, to `dim`; 0 where all tokens are equal, NaN where one is not finite.
    Roy and Vetterli, 2007; as RankMe in Garrido et al., ICML 2023, which does not centre.
    https://arxiv.org/abs/2210.02885
    """
    features = features.float()  # at bfloat16, centring would round off what little they differ by
    centred = (features - features.mean(dim=0)).double()
    if not centred.isfinite().all():
        return float("nan")
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).sqrt()
    if values.sum() < 1e-9:
        return 0.0
    return float(torch.special.entr(values / values.sum()).sum().exp())


class PositionGuess:
    """Guesses a target by the running mean of the targets at its position: no context at all.

    Before it has learned from any, it guesses 0. A step's targets weigh `decay` times the next's.
    """

    def __init__(self, patches: int, dim: int, device: torch.device, decay: float = 0.98) -> None:
        self._sum = torch.zeros(patches, dim, device=device)
        self._weight = torch.full((patches, 1), 1e-6, device=device)
        # sums and, last, counts of a step's targets: what ranks add up
        self.heard = torch.zeros(patches, dim + 1, device=device)
        self._decay = decay

    def state_dict(self) -> dict[str, Tensor]:
        """Gathers the running means; what was heard and not learned is not kept."""
        return {"sum": self._sum, "weight": self._weight}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts gathered running means back."""
        self._sum.copy_(state["sum"])
        self._weight.copy_(state["weight"])

    def loss(self, prediction: Prediction, objective: AbstractObjective) -> Tensor:
        """Returns the loss, a scalar, of this guess on a batch that it has not learned from yet."""
        mean = (self._sum / self._weight).index_select(0, prediction.targets.place)
        return prediction.against(objective.guess(mean), objective)

    def hear(self, prediction: Prediction) -> None:
        """Adds the targets of a part of a step to `heard`, until it learns."""
        place = prediction.targets.place
        self.heard[:, :-1].index_add_(0, place, prediction.target)
        self.heard[:, -1].index_add_(0, place, torch.ones_like(prediction.target[:, 0]))

    def forget(self) -> None:
        """Drops what was heard."""
        self.heard.zero_()

    def learn(self) -> None:
        """Adds what was heard in a step to the running means."""
        self._sum.mul_(self._decay).add_(self.heard[:, :-1])
        self._weight.mul_(self._decay).add_(self.heard[:, -1:])
        self.forget()
