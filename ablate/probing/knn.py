"""Nearest-neighbour probes: they classify clips by the labels of similar training clips.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
2018, sec. 3.4. https://arxiv.org/abs/1805.01978
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.audio.annotations import LabelKind
from ablate.parts import AS_BEFORE
from ablate.probing.metrics import Scores, recall_at_1
from ablate.probing.probe import CLASSES, NUMBERS, AbstractProbe, ProbeData
from ablate.probing.tasks import Labels
from ablate.probing.xares_protocol import XaresProtocol

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class KNN(AbstractProbe):
    """The `k` nearest training clips by cosine vote, each with weight exp(cosine / temperature).

    With fewer than `k` training clips, all of them vote. Numbers are predicted by the mean of those
    of the neighbours, with the same weights.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        k: Number of neighbours.
        temperature: Divisor of the similarities; smaller values weight near neighbours more.

    Example:
        probes: {knn: {type: ablate.probing.knn.KNN, k: 10}}
    """

    kinds: ClassVar[frozenset[LabelKind]] = CLASSES | NUMBERS

    k: int = 10
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_settings(self.k, self.temperature)

    def predict(self, data: ProbeData) -> Scores:
        train, query = _get_vectors(data)
        normalised = F.normalize(train, dim=1), F.normalize(query, dim=1)
        return _vote(*normalised, data, self.k, self.temperature)


@dataclass(frozen=True, kw_only=True)
class XaresKNN(AbstractProbe):
    """The kNN of X-ARES, unchanged, for comparison with published numbers; it is not a cosine kNN.

    Zhang et al., "X-ARES: A Comprehensive Framework for Assessing Audio Encoder Performance",
    2025. https://arxiv.org/abs/2505.16369
    Its code (https://github.com/jimbozhang/xares, commit 161f0ef) normalises each query clip to
    length 1, but the training clips per feature, over all clips. Training clips keep their
    different lengths, and one with a large norm is a neighbour of every query. Features are not
    standardised.

    With `protocol: official`, clips are also cut and padded as there (see
    `ablate.probing.xares_protocol`), so that its numbers are those of the benchmark; the total in
    reports then counts the tasks whose kNN score X-ARES counts.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.
        k: Number of neighbours.
        temperature: Divisor of the similarities; smaller values weight near neighbours more.
        protocol: How clips are cut and padded: as for other probes (`whole_clips`), or as in X-ARES
            (`official`).

    Example:
        probes: {xares: {type: ablate.probing.knn.XaresKNN, k: 10}}
    """

    k: int = 10
    temperature: float = 0.07
    protocol: XaresProtocol = field(default="whole_clips", metadata={AS_BEFORE: "whole_clips"})

    standardises: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_settings(self.k, self.temperature)

    @property
    def is_official(self) -> bool:
        return self.protocol == "official"

    def predict(self, data: ProbeData) -> Scores:
        train, query = _get_vectors(data)
        normalised = F.normalize(train, dim=0), F.normalize(query, dim=1)
        return _vote(*normalised, data, self.k, self.temperature)


@dataclass(frozen=True, kw_only=True)
class Retrieval(AbstractProbe):
    """Retrieves the training clip with the highest cosine; its score is recall@1.

    Recall@1 is the share of query clips whose retrieved clip has their class. If every class is a
    pair of one training clip and one query clip, it is the share that retrieves its partner.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.

    Example:
        probes: {retrieval: {type: ablate.probing.knn.Retrieval}}
    """

    headline: ClassVar[str | None] = "recall_at_1"

    def predict(self, data: ProbeData) -> Scores:
        train, query = (F.normalize(vectors, dim=1) for vectors in _get_vectors(data))
        labels = torch.from_numpy(data.labels[data.train])
        holds = labels if data.is_multilabel else F.one_hot(labels, data.num_classes).bool()
        highest = torch.full((len(query), data.num_classes), -torch.inf)
        for start in range(0, len(query), QUERIES_AT_ONCE):
            similarity = query[start : start + QUERIES_AT_ONCE] @ train.T
            for column in holds.any(dim=0).nonzero().flatten().tolist():
                nearest = similarity[:, holds[:, column]].amax(dim=1)
                highest[start : start + QUERIES_AT_ONCE, column] = nearest
        scores: Scores = highest.numpy()
        return scores

    def measure(self, scores: Scores, truth: Labels) -> dict[str, float]:
        return {"recall_at_1": recall_at_1(scores, truth)}


def _check_settings(k: int, temperature: float) -> None:
    if k < 1:
        raise ValueError(f"`k` must be at least 1; got {k}")
    if temperature <= 0:
        raise ValueError(f"`temperature` must be above 0; got {temperature}")


def _get_vectors(data: ProbeData) -> tuple[Tensor, Tensor]:
    """Returns the features of the training items and of the query items."""
    train, query = data.features[data.train], data.features[data.query]
    return torch.from_numpy(train), torch.from_numpy(query)


def _vote(train: Tensor, query: Tensor, data: ProbeData, k: int, temperature: float) -> Scores:
    """Returns the votes of the `k` training rows with the largest dot product with each query."""
    labels = torch.from_numpy(data.labels[data.train])
    all_votes = []
    for queries in torch.split(query, QUERIES_AT_ONCE):
        similarity, nearest = (queries @ train.T).topk(min(k, len(train)), dim=1)
        # the largest is subtracted, so that a small temperature does not overflow
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        weights /= weights.sum(dim=1, keepdim=True)
        if data.is_multilabel or data.has_numbers:  # shares of classes, or the mean of numbers
            votes = torch.einsum("qk,qkc->qc", weights, labels[nearest].float())
        else:
            votes = torch.zeros(len(queries), data.num_classes)
            votes.scatter_add_(1, labels[nearest], weights)
        all_votes.append(votes)
    scores: Scores = torch.cat(all_votes).numpy()
    return scores
