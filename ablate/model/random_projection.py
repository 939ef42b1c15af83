"""Discrete targets by a random projection, which needs no clustering."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.core.random import generator
from ablate.model.codebook import nearest, one_hot
from ablate.model.encoder import Encoder
from ablate.model.masking import Grid
from ablate.model.prediction_query import PredictionQuery
from ablate.model.targets import AbstractTarget, DrawPatches, Target, TargetValues
from ablate.model.token_norms import standardise


@dataclass(frozen=True, kw_only=True)
class RandomProjection(AbstractTarget):
    """The nearest entry of random codebooks to a random projection of each target patch.

    Chiu et al., "Self-supervised learning with random-projection quantizer for speech recognition"
    (BEST-RQ), ICML 2022, sec. 3.1. https://arxiv.org/abs/2202.01855
    Patches are normalised to mean 0 and deviation 1, projected by a fixed Xavier-uniform matrix,
    and compared by their direction with normal random vectors. All of it depends on the trial's
    seed only. The target is one-hot for every codebook, `(target tokens, codebooks * clusters)`.

    Args:
        clusters: Number of entries of each codebook.
        dim: Width of the projection.
        codebooks: Number of codebooks, each with its own projection; give the objective as many.

    Example:
        target: {type: ablate.model.random_projection.RandomProjection, clusters: 8192, dim: 16}
    """

    discrete = True

    clusters: int = 8192
    dim: int = 16
    codebooks: int = 1

    def __post_init__(self) -> None:
        for name in ("dim", "codebooks"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.clusters < 2:
            raise ValueError(f"`clusters` must be at least 2; got {self.clusters}")

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return RandomProjectionTarget(self, pixels)


class RandomProjectionTarget(Target):
    """Fixed projections, `(codebooks, pixels, dim)`, and entries, `(codebooks, clusters, dim)`."""

    def __init__(self, settings: RandomProjection, pixels: int) -> None:
        super().__init__()
        self.dim = settings.codebooks * settings.clusters
        self.encoder = None
        shape = (settings.codebooks, pixels, settings.dim)
        self.register_buffer("projections", torch.zeros(shape))
        entries = torch.zeros(settings.codebooks, settings.clusters, settings.dim)
        self.register_buffer("entries", entries)
        self.projections: Tensor
        self.entries: Tensor

    @torch.no_grad()
    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Draws projections and entries from the seed."""
        rng = generator(seed, "random projection")
        _, pixels, dim = self.projections.shape
        bound = (6 / (pixels + dim)) ** 0.5
        drawn = torch.rand(self.projections.shape, generator=rng)
        self.projections.copy_((2 * drawn - 1) * bound)
        entries = torch.randn(self.entries.shape, generator=rng)
        self.entries.copy_(F.normalize(entries, dim=-1))

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        points = standardise(query.targets.gather(patches).float())
        clusters = [
            one_hot(self._find(points, projection, entries), len(entries))
            for projection, entries in zip(self.projections, self.entries, strict=True)
        ]
        return TargetValues(torch.cat(clusters, dim=1))

    def _find(self, points: Tensor, projection: Tensor, entries: Tensor) -> Tensor:
        with torch.autocast(points.device.type, enabled=False):
            return nearest(F.normalize(points @ projection, dim=-1), entries)

    def flops(self, query: PredictionQuery) -> int:
        weights = self.projections.numel() + self.entries.numel()
        return 2 * query.targets.segments.num_tokens * weights

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Does nothing: projections and entries are fixed."""
