"""The nearest-neighbour probes: what lies close together in feature space.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
2018, sec. 3.4. https://arxiv.org/abs/1805.01978
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.probing.metrics import Scores, recall_at_1
from ablate.probing.probe import AbstractProbe, Lesson
from ablate.probing.tasks import Labels

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class KNN(AbstractProbe):
    """Lets the `k` nearest known clips by cosine vote, each with weight exp(cosine / temperature).

    With fewer than `k` known clips, all vote.
    """

    k: int = 10
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.k, self.temperature)

    def predict(self, lesson: Lesson) -> Scores:
        known, asked = _vectors(lesson)
        similar = F.normalize(known, dim=1), F.normalize(asked, dim=1)
        return _vote(*similar, lesson, self.k, self.temperature)


@dataclass(frozen=True, kw_only=True)
class XaresKNN(AbstractProbe):
    """The kNN of X-ARES as it is, for comparison with published numbers: not a cosine.

    Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance",
    2025. https://arxiv.org/abs/2505.16369
    Its code (https://github.com/jimbozhang/xares, commit 161f0ef) brings each asked clip to
    length 1, but of the known ones each feature, over the clips: they stay as long as they are,
    and one of a great norm is a neighbour of everything. Features are not standardised before.
    """

    k: int = 10
    temperature: float = 0.07

    standardises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.k, self.temperature)

    def predict(self, lesson: Lesson) -> Scores:
        known, asked = _vectors(lesson)
        similar = F.normalize(known, dim=0), F.normalize(asked, dim=1)
        return _vote(*similar, lesson, self.k, self.temperature)


@dataclass(frozen=True, kw_only=True)
class Retrieval(AbstractProbe):
    """Looks for the known clip of the greatest cosine; its score is recall@1, without a vote.

    That is the share of asked clips whose find is of their class. Where a class is a pair, one
    clip known and one asked, it is the share that finds its partner.
    """

    headline: ClassVar[str | None] = "recall_at_1"

    def predict(self, lesson: Lesson) -> Scores:
        known, asked = (F.normalize(vectors, dim=1) for vectors in _vectors(lesson))
        labels = torch.from_numpy(lesson.labels[lesson.known])
        holds = labels if lesson.several else F.one_hot(labels, lesson.classes).bool()
        found = torch.full((len(asked), lesson.classes), -torch.inf)
        for start in range(0, len(asked), QUERIES_AT_ONCE):
            similarity = asked[start : start + QUERIES_AT_ONCE] @ known.T
            for place in holds.any(dim=0).nonzero().flatten().tolist():
                nearest = similarity[:, holds[:, place]].amax(dim=1)
                found[start : start + QUERIES_AT_ONCE, place] = nearest
        scores: Scores = found.numpy()
        return scores

    def measure(self, scores: Scores, truth: Labels) -> dict[str, float]:
        return {"recall_at_1": recall_at_1(scores, truth)}


def _check(k: int, temperature: float) -> None:
    if k < 1:
        raise ValueError(f"`k` must be at least 1; got {k}")
    if temperature <= 0:
        raise ValueError(f"`temperature` must be above 0; got {temperature}")


def _vectors(lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Returns the features of the known and of the asked."""
    known, asked = lesson.features[lesson.known], lesson.features[lesson.asked]
    return torch.from_numpy(known), torch.from_numpy(asked)


def _vote(known: Tensor, asked: Tensor, lesson: Lesson, k: int, temperature: float) -> Scores:
    """Lets the `k` known rows of the greatest product with each asked row vote."""
    labels = torch.from_numpy(lesson.labels[lesson.known])
    guesses = []
    for queries in torch.split(asked, QUERIES_AT_ONCE):
        similarity, nearest = (queries @ known.T).topk(min(k, len(known)), dim=1)
        # less the greatest, so that a small temperature does not overflow
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        weights /= weights.sum(dim=1, keepdim=True)
        if lesson.several:
            votes = torch.einsum("qk,qkc->qc", weights, labels[nearest].float())
        else:
            votes = torch.zeros(len(queries), lesson.classes)
            votes.scatter_add_(1, labels[nearest], weights)
        guesses.append(votes)
    scores: Scores = torch.cat(guesses).numpy()
    return scores
