"""The nearest-neighbour probe: what lies close together in feature space.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
2018, sec. 3.4. https://arxiv.org/abs/1805.01978
Unlike the X-ARES code, which normalises each feature over the clips: here each clip has length
1, so that the similarity is the cosine.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ablate.probing.probe import AbstractProbe, Matrix
from ablate.probing.tasks import Indices

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class KNN(AbstractProbe):
    """Lets the `k` nearest known clips by cosine vote, each with weight exp(cosine / temperature).

    With fewer than `k` known clips, all vote.
    """

    k: int = 10
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"`k` must be at least 1; got {self.k}")
        if self.temperature <= 0:
            raise ValueError(f"`temperature` must be above 0; got {self.temperature}")

    def predict(self, known: Matrix, labels: Indices, asked: Matrix) -> Indices:
        bank = F.normalize(torch.from_numpy(known), dim=1)
        classes = torch.from_numpy(labels)
        guesses = []
        everything = F.normalize(torch.from_numpy(asked), dim=1)
        for queries in torch.split(everything, QUERIES_AT_ONCE):
            cosine, nearest = (queries @ bank.T).topk(min(self.k, len(bank)), dim=1)
            votes = torch.zeros(len(queries), int(classes.max()) + 1)
            # less the greatest cosine, so that a small temperature does not overflow
            weights = ((cosine - cosine[:, :1]) / self.temperature).exp()
            votes.scatter_add_(1, classes[nearest], weights)
            guesses.append(votes.argmax(dim=1))
        guessed: Indices = torch.cat(guesses).numpy()
        return guessed
