"""Masks as the devices of other systems drew them: each for the clips that it collated."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch

from ablate.model.mask_sampling import cut_to_smallest
from ablate.model.masking import AbstractMasker, Clips, Mask, Promises
from maskers.composition import get_fallback, pad_blocks


@dataclass(frozen=True, kw_only=True)
class EqualCounts(AbstractMasker):
    """Gives the masks of every few clips equal numbers of patches, as the collator of a device.

    Other systems cut masks where each device collates its clips: to the smallest context and the
    smallest target block, keeping the first patches in raster order (I-JEPA,
    https://github.com/facebookresearch/ijepa, src/masks/multiblock.py; V-JEPA,
    https://github.com/facebookresearch/jepa, src/masks/multiblock3d.py, each kind of mask by
    itself), or by showing random hidden patches again until every clip hides as many as the clip
    that hides fewest (`require_same_masks` of wav2vec 2.0 and data2vec,
    https://github.com/facebookresearch/fairseq, fairseq/data/data_utils.py).

    Args:
        masker: Draws the masks of a device's clips. What a masker draws once per batch, such as
            `sizes: batch`, it then draws once per device.
        clips: Number of consecutive clips that are drawn and cut together. If unset, all of a
            batch.
        surplus: Patches beyond the smallest count: `drop_last` and `drop_random` leave them out of
            context and targets; `show_random` moves random ones from the targets to the context.

    Example:
        masker: {type: maskers.EqualCounts, clips: 24, masker: {type: maskers.UnionComplement}}
    """

    masker: AbstractMasker
    clips: int | None = None
    surplus: Literal["drop_last", "drop_random", "show_random"] = "drop_last"

    def __post_init__(self) -> None:
        if self.clips is not None and self.clips < 1:
            raise ValueError(f"`clips` must be at least 1; got {self.clips}")
        if self.surplus == "show_random" and self.masker.promises.overlap:
            raise ValueError(
                "the context and targets of `masker` may overlap, so that hidden patches cannot be "
                "counted; use `drop_last` or `drop_random`"
            )

    @property
    def promises(self) -> Promises:
        inner = self.masker.promises
        low, high = inner.context
        context = (low, 1.0) if self.surplus == "show_random" else (0.0, high)
        uneven = inner.uneven
        if self.surplus == "drop_last":
            uneven = uneven or "the last patches of larger contexts and blocks are left out"
        return dataclasses.replace(inner, context=context, exact=False, coupled=True, uneven=uneven)

    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        size = self.clips or clips.batch
        groups = [
            self._draw_group(_slice_clips(clips, start, start + size), generator)
            for start in range(0, clips.batch, size)
        ]
        blocks = max(mask.targets.shape[1] for mask in groups)
        groups = [pad_blocks(mask, blocks) for mask in groups]
        return Mask(
            torch.cat([mask.context for mask in groups]),
            torch.cat([mask.targets for mask in groups]),
            torch.cat([get_fallback(mask) for mask in groups]),
        )

    def _draw_group(self, clips: Clips, generator: torch.Generator) -> Mask:
        mask = self.masker.draw(clips, generator)
        context, targets = mask.context.clone(), mask.targets.clone()
        copies = self.masker.promises.copies
        for copy in range(copies):
            rows = slice(copy, None, copies)
            if self.surplus == "show_random":
                kept = cut_to_smallest(mask.target_union[rows], generator)
                context[rows] |= mask.target_union[rows] & ~kept
                targets[rows] &= kept.unsqueeze(1)
            else:
                rng = generator if self.surplus == "drop_random" else None
                context[rows] = cut_to_smallest(mask.context[rows], rng)
                targets[rows] = cut_to_smallest(mask.targets[rows], rng)
        return Mask(context, targets, mask.fallback)


def _slice_clips(clips: Clips, start: int, stop: int) -> Clips:
    content = None if clips.content is None else clips.content[start:stop]
    return dataclasses.replace(clips, valid=clips.valid[start:stop], content=content)
