"""Parts that start from finished runs: an encoder to train on, and frozen target encoders."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ablate.model.encoder import AbstractEncoder, Encoder, Support
from ablate.model.masking import Grid
from ablate.model.packing import find_rows
from ablate.model.prediction_query import PredictionQuery
from ablate.model.saved_encoder import SavedEncoder, find_digest, read_encoder
from ablate.model.targets import (
    AbstractTarget,
    DrawPatches,
    Normalisation,
    Target,
    TargetValues,
    Teacher,
    combine_layers,
    normalise_features,
)
from ablate.parts import MATTERS_IF


@dataclass(frozen=True, kw_only=True)
class Pretrained(AbstractEncoder):
    """The encoder of a finished run, with its weights, to train on.

    For continued pre-training, on other clips or with another task. A run is named by the weights
    it starts from and not by the folder they are in.

    Args:
        folder: Folder of a finished run, or one that `ablate export` wrote.
        digest: Digest of the weights; set when a study is planned.

    Example:
        encoder: {type: ablate.model.pretrained.Pretrained, folder: runs/3f2a9c1b07}
    """

    folder: str = field(metadata={MATTERS_IF: {"digest": ""}})
    digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", find_digest(self.folder, self.digest))

    @property
    def saved(self) -> SavedEncoder:
        """The encoder in the folder."""
        return read_encoder(self.folder, self.digest)

    def __getattr__(self, name: str) -> Any:
        """Returns a setting of the saved encoder, such as `hidden` or `layers`."""
        if name.startswith("_") or name not in ("hidden", "layers", "summary", "stem", "causal"):
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        try:
            encoder = self.saved.encoder
        except ValueError as error:  # reported when the trial is validated
            raise AttributeError(str(error)) from error
        return getattr(encoder, name)

    @property
    def supports(self) -> frozenset[Support]:  # type: ignore[override]  # depends on the folder
        """What the saved encoder supports."""
        return self.saved.encoder.supports

    def build(self, grid: Grid, pixels: int) -> Encoder:
        return self.saved.encoder.build(grid, pixels)

    def initialise(self, encoder: Encoder, seed: int) -> None:
        """Sets the weights to those of the finished run, whatever the seed."""
        self.saved.load_into(encoder)


@dataclass(frozen=True, kw_only=True)
class FrozenEncoders(AbstractTarget):
    """Features of the encoders of finished runs, which are never updated.

    One encoder is the static teacher of SALT (Li et al., "Rethinking JEPA", 2025,
    https://arxiv.org/abs/2509.24317), whose first stage is a run with `targets.Pixels`. Of several
    encoders the features are put next to each other, and all are predicted at once: distillation
    as in USAD (Chang et al., 2025, https://arxiv.org/abs/2506.18843). They must share the trial's
    front end, patches and crop. Their input is normalised with the trial's statistics.

    Args:
        folders: Folders of finished runs, or such that `ablate export` wrote.
        layers: Number of last layers to average, or a list of layers, counted from 1.
        normalise: How features are normalised; see `Teacher`.
        combine: Whether several layers are averaged, or put next to each other.
        digests: Digests of the weights; set when a study is planned.

    Example:
        target: {type: ablate.model.pretrained.FrozenEncoders, folders: [runs/3f2a9c1b07]}
    """

    folders: tuple[str, ...] = field(metadata={MATTERS_IF: {"digests": ()}})
    layers: int | tuple[int, ...] = 1
    normalise: Normalisation = "layer"
    combine: Literal["average", "concatenate"] = "average"
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.folders:
            raise ValueError("`folders` must name at least one finished run; got none")
        if self.digests and len(self.digests) != len(self.folders):
            raise ValueError(
                f"`digests` must have one entry per folder; got {len(self.digests)} for "
                f"{len(self.folders)}"
            )
        expected = self.digests or ("",) * len(self.folders)
        digests = [find_digest(*pair) for pair in zip(self.folders, expected, strict=True)]
        object.__setattr__(self, "digests", tuple(digests))
        _ = self.features  # validates the layers

    @property
    def features(self) -> Teacher:
        """Which features of each encoder are the target."""
        return Teacher(layers=self.layers, normalise=self.normalise, combine=self.combine)

    @property
    def saved(self) -> list[SavedEncoder]:
        """The encoders in the folders."""
        pairs = zip(self.folders, self.digests, strict=True)
        return [read_encoder(folder, digest) for folder, digest in pairs]

    def build(self, encoder: Encoder, grid: Grid, pixels: int) -> Target:
        return FrozenTarget(self, [saved.build(grid, pixels) for saved in self.saved])


class FrozenTarget(Target):
    """Encoders whose features, next to each other, are `(target tokens, sum of widths)`."""

    def __init__(self, settings: FrozenEncoders, encoders: list[Encoder]) -> None:
        super().__init__()
        self.features = settings.features
        self.encoder = None
        self.readers = nn.ModuleList(encoders).requires_grad_(requires_grad=False)
        self.dim = sum(encoder.dim for encoder in encoders) * self.features.num_parts

    def prepare(self, draw: DrawPatches, seed: int) -> None:
        """Does nothing: no preparation needed."""

    @torch.no_grad()
    def forward(self, patches: Tensor, query: PredictionQuery) -> TargetValues:
        packing = query.clip_patches
        rows = find_rows(query.target_union, query.valid, patches.device, copies=query.copies)
        values = []
        for reader in self.readers:
            tokens = combine_layers(self.features, reader(patches, packing), packing)
            values.append(normalise_features(self.features, tokens.index_select(0, rows)))
        return TargetValues(torch.cat(values, dim=1))

    def flops(self, query: PredictionQuery) -> int:
        counts: list[int] = [reader.flops(query.clip_patches) for reader in self.readers]  # type: ignore[operator]
        return sum(counts)

    def update(self, encoder: Encoder, momentum: float) -> None:
        """Does nothing: the encoders are frozen."""
