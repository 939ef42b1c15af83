"""A codebook: discrete targets, the nearest of some clusters.

Hsu et al., "HuBERT", 2021 (https://arxiv.org/abs/2106.07447) clusters cepstra first and features
after; Chen et al., "BEATs", ICML 2023 (https://arxiv.org/abs/2212.09058) starts from a random
projection.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import pack, rows_of
from ablate.model.prediction_query import Question
from ablate.model.targets import AbstractTarget, Draw, Goal, Target

ROUNDS = 20  # of Lloyd's; few points change their cluster after


@dataclass(frozen=True, kw_only=True)
class Codebook(AbstractTarget):
    """The number of the nearest of some clusters, found by k-means before training starts.

    What is clustered are the patches of clips to pre-train on, or the features that the encoder
    gives them before it is trained; both are found again from the trial's seed alone. The target
    is one-hot, (target tokens, clusters).
    """

    discrete = True

    clusters: int = 512
    of: Literal["patches", "features"] = "patches"  # what is clustered
    points: int = 20_000  # patches to find the clusters by

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= self.points:
            raise ValueError(
                f"`clusters` must lie between 2 and `points` {self.points}; got {self.clusters}"
            )

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return ClusterTarget(self, encoder, pixels)


class ClusterTarget(Target):
    """Centres of clusters, (clusters, width), and the untrained encoder if they are of features."""

    def __init__(self, settings: Codebook, encoder: Encoder, pixels: int) -> None:
        super().__init__()
        self.points = settings.points
        self.dim = settings.clusters
        self.encoder = None
        self.reader: Encoder | None = None
        if settings.of == "features":
            self.reader = copy.deepcopy(encoder).requires_grad_(requires_grad=False)
        width = pixels if self.reader is None else encoder.dim
        self.register_buffer("centres", torch.zeros(settings.clusters, width))
        self.centres: Tensor

    @torch.no_grad()
    def prepare(self, draw: Draw, seed: int) -> None:
        """Clusters on the CPU, so that every rank and every device finds the same centres.

        Of features they are the same as far as devices agree on these. Takes the real patches of
        one draw after another until it has `points` of them, so that few clips come several times.
        """
        points: list[Tensor] = []
        missing, number = self.points, 0
        while missing > 0:
            patches, valid = draw(number)
            found = self._read(patches, valid)[:missing].cpu()
            points.append(found)
            missing, number = missing - len(found), number + 1
        rng = generator(seed, "codebook")
        self.centres.copy_(k_means(torch.cat(points), self.dim, rng))

    @torch.no_grad()
    def forward(self, patches: Tensor, question: Question) -> Goal:
        if self.reader is None:
            points = question.targets.gather(patches).float()
        else:
            rows = rows_of(question.union, question.valid, patches.device, copies=question.copies)
            points = self._read(patches, question.valid).index_select(0, rows)
        return Goal(F.one_hot(nearest(points, self.centres), self.dim).float())

    def flops(self, question: Question) -> int:
        reading = self.reader.flops(question.whole) if self.reader is not None else 0
        return reading + 2 * question.targets.segments.total * self.centres.numel()

    def follow(self, encoder: Encoder, momentum: float) -> None:
        """Stands still."""

    def _read(self, patches: Tensor, valid: Tensor) -> Tensor:
        """Returns what is clustered of each real patch, (tokens, width)."""
        whole = pack(valid, patches.device)
        if self.reader is None:
            return whole.gather(patches).float()
        tokens: Tensor = self.reader(patches, whole).tokens.float()
        return tokens


def k_means(points: Tensor, clusters: int, rng: torch.Generator) -> Tensor:
    """Clusters (points, dim) by at most 20 rounds of Lloyd's algorithm, from randomly drawn points.

    Returns the centres, (clusters, dim). A cluster that loses all its points starts again at one
    of those farthest from their centres. Raises `ValueError` for fewer points than clusters.
    """
    if len(points) < clusters:
        raise ValueError(f"{len(points)} patches cannot make {clusters} clusters; lower `clusters`")
    centres = points[torch.randperm(len(points), generator=rng)[:clusters]]
    for _ in range(ROUNDS):
        owner = nearest(points, centres)
        counts = torch.bincount(owner, minlength=clusters)
        sums = torch.zeros_like(centres).index_add(0, owner, points)
        moved = sums / counts.clamp(min=1).unsqueeze(1)
        empty = counts == 0
        if empty.any():
            apart = (points - centres[owner]).square().sum(dim=1)
            moved[empty] = points[apart.topk(int(empty.sum())).indices]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Returns which of (clusters, dim) is nearest to each of (points, dim), int64 (points,).

    Distances are float32 whatever the autocast, as they are where the centres are found.
    """
    with torch.autocast(points.device.type, enabled=False):
        return (points @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1)
