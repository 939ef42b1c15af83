"""Maskers made of other maskers: they mix, repeat, subsample or replace their masks.

A combinator has the declared properties of its inner maskers (overlap, coupling, bias, cost), and
refuses a grid that one of them refuses.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ablate.model.mask_sampling import choose, round_share
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises, check_range
from maskers.composition import combine_promises, get_fallback, pad_blocks, select_masks


@dataclass(frozen=True, kw_only=True)
class Mixture(AbstractMasker):
    """Draws the mask of each sample from one of several maskers, chosen by weights.

    Args:
        maskers: The maskers. They need the same content and draw the same number of masks.
        weights: Relative probability of each masker.

    Example:
        masker: {type: maskers.Mixture, weights: [1, 1],
          maskers: [{type: maskers.Random}, {type: maskers.MultiBlock}]}
    """

    maskers: tuple[AbstractMasker, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.maskers) != len(self.weights) or not self.maskers:
            counts = f"{len(self.maskers)} maskers and {len(self.weights)} weights"
            raise ValueError(f"`weights` must have one number per masker; got {counts}")
        if min(self.weights) < 0 or sum(self.weights) == 0:
            raise ValueError(f"`weights` must be positive; got {list(self.weights)}")
        combine_promises(self.maskers)

    @property
    def promises(self) -> Promises:
        return combine_promises(self.maskers)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        rows = clips.batch * self.promises.copies
        weights = torch.tensor(self.weights, dtype=torch.float)
        which = torch.multinomial(weights, rows, replacement=True, generator=generator)
        masks = [masker.draw(clips, generator) for masker in self.maskers]
        return select_masks(masks, which)


@dataclass(frozen=True, kw_only=True)
class MultiMask(AbstractMasker):
    """Draws several masks per clip: one of each masker, `times` over.

    The target encoder processes the clip once for all of them: 16 masks in EAT (Chen et al., 2024,
    https://arxiv.org/abs/2401.03497), or the two kinds of V-JEPA (Bardes et al., 2024,
    https://arxiv.org/abs/2404.08471).

    Args:
        maskers: The maskers, each of which draws one mask per clip.
        times: Masks of each masker per clip.

    Example:
        masker: {type: maskers.MultiMask, maskers: [{type: maskers.MultiBlock}], times: 4}
    """

    part = "maskers.Several"  # its former name

    maskers: tuple[AbstractMasker, ...]
    times: int = 1

    def __post_init__(self) -> None:
        if self.times < 1 or not self.maskers:
            raise ValueError(
                "`maskers` must have at least one entry and `times` be at least 1; "
                f"got {len(self.maskers)} and {self.times}"
            )
        if any(masker.promises.copies > 1 for masker in self.maskers):
            raise ValueError("`maskers` must draw one mask per clip each; raise `times` instead")
        combine_promises(self.maskers)

    @property
    def promises(self) -> Promises:
        copies = len(self.maskers) * self.times
        return dataclasses.replace(combine_promises(self.maskers), copies=copies)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        masks = [
            masker.draw(clips, generator) for _ in range(self.times) for masker in self.maskers
        ]
        blocks = max(mask.targets.shape[1] for mask in masks)
        masks = [pad_blocks(mask, blocks) for mask in masks]
        return Mask(
            torch.stack([mask.context for mask in masks], dim=1).flatten(0, 1),
            torch.stack([mask.targets for mask in masks], dim=1).flatten(0, 1),
            torch.stack([get_fallback(mask) for mask in masks], dim=1).flatten(),
        )


@dataclass(frozen=True, kw_only=True)
class Subsample(AbstractMasker):
    """Predicts only a random share of what another masker hides, which costs less.

    What is hidden and not predicted is neither context nor target.

    Args:
        masker: The other masker.
        share: Share of the hidden patches to predict; at least one patch.

    Example:
        masker: {type: maskers.Subsample, masker: {type: maskers.Random, ratio: 0.8}, share: 0.5}
    """

    masker: AbstractMasker
    share: float = 0.5

    def __post_init__(self) -> None:
        check_range("share", self.share, low=0, high=1)

    @property
    def promises(self) -> Promises:
        return self.masker.promises

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        mask = self.masker.draw(clips, generator)
        union = mask.target_union
        number = (union.sum(dim=1) * self.share).round().long().clamp(min=1)
        kept = choose(number, among=union, generator=generator)
        return Mask(mask.context, mask.targets & kept.unsqueeze(1), mask.fallback)


@dataclass(frozen=True, kw_only=True)
class DeadZone(AbstractMasker):
    """Removes patches close to a target from the context of another masker.

    Overlapping windows or patches share samples, and sound is smooth: a target next to the context
    may be predicted by interpolation. If nothing would stay visible, the sample keeps its context
    and is marked as a fallback.

    Args:
        masker: The other masker, whose context and targets must not overlap.
        freq: Rows removed on either side of a target.
        time: Columns removed on either side of a target, including corners.

    Example:
        masker: {type: maskers.DeadZone, time: 1, masker: {type: maskers.MultiBlock}}
    """

    part = "maskers.Gap"  # its former name

    masker: AbstractMasker
    freq: int = 0
    time: int = 1

    def __post_init__(self) -> None:
        if min(self.freq, self.time) < 0:
            raise ValueError(
                f"`freq` and `time` must not be negative; got {self.freq} and {self.time}"
            )
        if self.masker.promises.overlap:
            raise ValueError(
                "the context and targets of `masker` may overlap, which a dead zone cannot prevent"
            )

    @property
    def promises(self) -> Promises:
        inner = self.masker.promises
        uneven = inner.uneven or "patches between two targets are seldom far enough from both"
        return dataclasses.replace(
            inner, context=(0.0, inner.context[1]), exact=False, uneven=uneven
        )

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        grid = clips.grid
        mask = self.masker.draw(clips, generator)
        cells = mask.target_union.float().view(-1, 1, grid.freq, grid.time)
        near = F.max_pool2d(
            cells,
            kernel_size=(2 * self.freq + 1, 2 * self.time + 1),
            stride=1,
            padding=(self.freq, self.time),
        )
        apart = mask.context & ~near.flatten(1).bool()
        empty = ~apart.any(dim=1)
        context = torch.where(empty.unsqueeze(1), mask.context, apart)
        return Mask(context, mask.targets, get_fallback(mask) | empty)


@dataclass(frozen=True, kw_only=True)
class Guard(AbstractMasker):
    """Replaces a mask that shows too little by a uniform one that shows just enough.

    In the new mask everything hidden is one target block. The sample is marked as a fallback.

    Args:
        masker: The masker whose masks may be replaced.
        min_context: Least share of a clip that must be visible.

    Example:
        masker: {type: maskers.Guard, min_context: 0.2,
          masker: {type: maskers.Random, ratio: [0.4, 0.95]}}
    """

    masker: AbstractMasker
    min_context: float = 0.1

    def __post_init__(self) -> None:
        check_range("min_context", self.min_context, low=0, high=1)

    @property
    def promises(self) -> Promises:
        inner = self.masker.promises
        low = max(self.min_context, inner.context[0])
        return dataclasses.replace(inner, context=(low, max(low, inner.context[1])), exact=False)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        mask = self.masker.draw(clips, generator)
        valid = clips.valid.repeat_interleave(self.promises.copies, dim=0)
        least = round_share(valid.sum(dim=1), self.min_context)
        context = choose(least, among=valid, generator=generator)
        uniform = pad_blocks(Mask(context, (valid & ~context).unsqueeze(1)), mask.targets.shape[1])
        poor = mask.context.sum(dim=1) < least
        chosen = select_masks([mask, uniform], poor.long())
        return Mask(chosen.context, chosen.targets, get_fallback(mask) | poor)
