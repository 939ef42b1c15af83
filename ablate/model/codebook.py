"""Discrete targets: the nearest cluster of a k-means codebook.

Hsu et al., "HuBERT", 2021 (https://arxiv.org/abs/2106.07447) clusters cepstra first and features
later; Chen et al., "BEATs", ICML 2023 (https://arxiv.org/abs/2212.09058) starts from a random
projection.
"""

import copy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ablate.core.random import generator
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.packing import find_rows, pack
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import AbstractTarget, DrawPatches, Target, TargetValues
from ablate.parts import AS_BEFORE

ROUNDS = 20  # iterations of Lloyd's algorithm; few points change their cluster afterwards


@dataclass(frozen=True, kw_only=True)
class Codebook(AbstractTarget):
    """The nearest cluster of each target patch, by k-means computed before training starts.

    The clustered points are patches of pre-training clips, or the features of these patches from
    the untrained encoder. Both depend on the trial's seed only, so a resumed run finds the same
    clusters. The target is one-hot, `(target tokens, clusters)`.

    With `stages` above 1 every further codebook clusters what those before it leave over: residual
    vector quantisation, as of the targets of MERT (Li et al., ICLR 2024,
    https://arxiv.org/abs/2306.00107). With `softness` a patch belongs to all clusters, in
    proportion to their likelihood under Gaussians around the centres, as in S-JEPA (2026,
    https://arxiv.org/abs/2606.19398). Unlike it: all Gaussians have the same variance, that of the
    distances to the nearest centre.

    Args:
        clusters: Number of clusters.
        of: What is clustered.
        points: Number of patches that k-means clusters.
        stages: Number of codebooks, each of what those before it leave over.
        softness: Variance of the Gaussians, relative to that of the distances to the nearest
            centre; 0 for the nearest cluster alone.

    Example:
        target: {type: ablate.model.codebook.Codebook, clusters: 512, of: patches}
    """

    discrete = True

    clusters: int = 512
    of: Literal["patches", "features"] = "patches"
    points: int = 20_000
    stages: int = field(default=1, metadata={AS_BEFORE: 1})
    softness: float = field(default=0.0, metadata={AS_BEFORE: 0.0})

    @property
    def codebooks(self) -> int:
        """Number of codebooks, each of which gives a cluster."""
        return self.stages

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise ValueError(f"`stages` must be at least 1; got {self.stages}")
        if self.softness < 0:
            raise ValueError(f"`softness` must not be negative; got {self.softness}")
        if not 2 <= self.clusters <= self.points:
            raise ValueError(
                f"`clusters` must lie between 2 and `points` {self.points}; got {self.clusters}"
            )

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return ClusterTarget(self, encoder, pixels)


class ClusterTarget(Target):
    """Cluster centres, `(clusters, width)`, and the untrained encoder if features are clustered."""

    def __init__(self, settings: Codebook, encoder: Encoder, pixels: int) -> None:
        super().__init__()
        self.points = settings.points
        self.dim = settings.clusters * settings.stages
        self.softness = settings.softness
        self.encoder = None
        self.reader: Encoder | None = None
        if settings.of == "features":
            self.reader = copy.deepcopy(encoder).requires_grad_(requires_grad=False)
        width = pixels if self.reader is None else encoder.dim
        self.register_buffer("centres", torch.zeros(settings.clusters, width))
        self.centres: Tensor
        for stage in range(1, settings.stages):
            self.register_buffer(f"centres_{stage}", torch.zeros(settings.clusters, width))
        if settings.softness > 0:
            self.register_buffer("variances", torch.ones(settings.stages))
        self.variances: Tensor
        self.stages = settings.stages

    @torch.no_grad()
    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Computes the centres on the CPU, so that every rank and device gets the same ones.

        Centres of features agree as far as devices agree on the features. Collects the valid
        patches of one draw after another until there are `points` of them.
        """
        points: list[Tensor] = []
        missing, number = self.points, 0
        while missing > 0:
            patches, valid = draw(number)
            points.append(self._read(patches, valid)[:missing].cpu())
            missing, number = missing - len(points[-1]), number + 1
        rng = generator(seed, "codebook")
        rest = torch.cat(points)
        for stage, centres in enumerate(self._all_centres):
            centres.copy_(k_means(rest, len(centres), rng))
            rest = rest - centres.cpu()[nearest(rest, centres.cpu())]
            if self.softness > 0:
                self.variances[stage] = rest.square().sum(dim=1).mean().clamp(min=1e-6)

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        if self.reader is None:
            points = query.targets.gather(patches).float()
        else:
            rows = find_rows(query.target_union, query.valid, patches.device, copies=query.copies)
            points = self._read(patches, query.valid).index_select(0, rows)
        clusters = []
        for stage, centres in enumerate(self._all_centres):
            owner = nearest(points, centres)
            clusters.append(self._assign(points, owner, stage))
            points = points - centres[owner]
        return TargetValues(torch.cat(clusters, dim=1))

    @property
    def _all_centres(self) -> list[Tensor]:
        return [self.centres, *(getattr(self, f"centres_{n}") for n in range(1, self.stages))]

    def _assign(self, points: Tensor, owner: Tensor, stage: int) -> Tensor:
        """Returns the shares of the clusters in each point, `(tokens, clusters)`."""
        centres = self._all_centres[stage]
        if self.softness == 0:
            return one_hot(owner, len(centres))
        with torch.autocast(points.device.type, enabled=False):
            near = points @ centres.T - centres.square().sum(dim=1) / 2
            return (near / (self.softness * self.variances[stage])).softmax(dim=1)

    def flops(self, query: PredictionQuery) -> int:
        reading = self.reader.flops(query.clip_patches) if self.reader is not None else 0
        compared = self.stages * self.centres.numel()
        return reading + 2 * query.targets.segments.num_tokens * compared

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Does nothing: the centres are fixed."""

    def _read(self, patches: Tensor, valid: Tensor) -> Tensor:
        """Returns the point to cluster for each valid patch, `(tokens, width)`."""
        packing = pack(valid, patches.device)
        if self.reader is None:
            return packing.gather(patches).float()
        tokens: Tensor = self.reader(patches, packing).tokens.float()
        return tokens


def k_means(points: Tensor, clusters: int, rng: torch.Generator) -> Tensor:
    """Clusters `(points, dim)` by at most 20 iterations of Lloyd's algorithm.

    Starts from random points. A cluster that loses all its points restarts at one of the points
    farthest from their centres.

    Returns:
        The centres, `(clusters, dim)`.

    Raises:
        ValueError: There are fewer points than clusters.
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
            distances = (points - centres[owner]).square().sum(dim=1)
            moved[empty] = points[distances.topk(int(empty.sum())).indices]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Returns the index of the centre nearest to each point, int64 `(points,)`.

    `points` is `(points, dim)`, `centres` `(clusters, dim)`. Distances are float32 even under
    autocast, as when the centres were computed.
    """
    with torch.autocast(points.device.type, enabled=False):
        return (points @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1)


def one_hot(index: Tensor, size: int) -> Tensor:
    """Returns 1 at the index of each row and 0 elsewhere, float32 `(rows, size)`."""
    return (index.unsqueeze(1) == torch.arange(size, device=index.device)).float()
