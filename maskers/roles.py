"""Maskers that change which patches of another masker's masks are seen, and which predicted."""

import dataclasses
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ablate.model.masking import AbstractMasker, Clips, Mask, Promises


@dataclass(frozen=True, kw_only=True)
class Invert(AbstractMasker):
    """Exchanges the context and the targets of another masker.

    `inv_block` of V-JEPA 2 (Assran et al., 2025, https://arxiv.org/abs/2506.09985;
    https://github.com/facebookresearch/vjepa2/blob/c2963a4/src/masks/multiseq_multiblock3d.py):
    few blocks are seen, and everything around them is predicted, as one target.

    Args:
        masker: The other masker.
        full_complement: Whether the targets are all valid patches that are not context, also those
            that are neither context nor target of the other masker.

    Example:
        masker: {type: maskers.Invert, masker: {type: maskers.UnionComplement}}
    """

    masker: AbstractMasker
    full_complement: bool = False

    @property
    def promises(self) -> Promises:
        inner = self.masker.promises
        low, high = inner.context
        least, most = (1 - high, 1 - low) if not inner.overlap else (0.0, 1.0)
        if not inner.exact:
            least = 0.0  # what is neither context nor target stays so
        return dataclasses.replace(inner, context=(least, most), exact=False, overlap=inner.overlap)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        mask = self.masker.draw(clips, generator)
        context, targets = mask.target_union, mask.context
        if self.full_complement:
            valid = clips.valid.repeat_interleave(self.masker.promises.copies, dim=0)
            targets = valid & ~context
        return Mask(context, targets.unsqueeze(1), mask.fallback)


@dataclass(frozen=True, kw_only=True)
class EveryPatch(AbstractMasker):
    """Shows every patch, and predicts every patch but the first, from those before it.

    For encoders with causal attention, which hide what is to be predicted by themselves: use
    `ablate.model.next_patch.NextPatch` as the predictor and `causal: true` on the encoder.
    Next-embedding prediction: Xu et al., 2025, https://arxiv.org/abs/2512.16922.

    Example:
        masker: {type: maskers.EveryPatch}
    """

    @property
    def promises(self) -> Promises:
        return Promises(
            context=(1.0, 1.0),
            overlap=True,
            unvisited="the first patch has none before it, and all masks are the same",
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        targets = clips.valid.clone()
        targets[:, 0] = False
        return Mask(clips.valid.clone(), targets.unsqueeze(1))


@dataclass(frozen=True, kw_only=True)
class PredictVisible(AbstractMasker):
    """Adds the context of another masker to its targets, as one more target block.

    For losses on visible patches, too, which dense tasks profit from: V-JEPA 2.1 (2026,
    https://arxiv.org/abs/2603.14482). Their weight is `objective.visible`. Unlike it: the weight
    does not depend on the distance to the nearest hidden patch.

    Args:
        masker: The other masker.
        near: If set, only context patches at most this many rows and columns from a target of the
            other masker are predicted.

    Example:
        masker: {type: maskers.PredictVisible, masker: {type: maskers.Random, ratio: 0.6}}
    """

    masker: AbstractMasker
    near: int | None = None

    def __post_init__(self) -> None:
        if self.near is not None and self.near < 1:
            raise ValueError(f"`near` must be at least 1; got {self.near}")

    @property
    def promises(self) -> Promises:
        return dataclasses.replace(self.masker.promises, overlap=True)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        mask = self.masker.draw(clips, generator)
        seen = mask.context
        if self.near is not None:
            cells = mask.target_union.float().view(-1, 1, clips.grid.freq, clips.grid.time)
            around = F.max_pool2d(cells, 2 * self.near + 1, stride=1, padding=self.near)
            seen = seen & around.flatten(1).bool()
        return Mask(mask.context, torch.cat([mask.targets, seen.unsqueeze(1)], 1), mask.fallback)
