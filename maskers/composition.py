"""Combines the promises and the masks of several maskers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ablate.model.masking import AbstractMasker, Mask, Promises


def combine_promises(maskers: Sequence[AbstractMasker]) -> Promises:
    """Returns the promises that all masks of several maskers keep.

    Raises:
        ValueError: If maskers need different content or draw different numbers of masks per clip.
    """
    promises = [masker.promises for masker in maskers]
    first = promises[0]
    needs = {each.needs for each in promises if each.needs}
    if len(needs) > 1:
        raise ValueError(
            f"these maskers need {' and '.join(sorted(needs))}; only one can be provided"
        )
    if len({each.copies for each in promises}) > 1:
        copies = [each.copies for each in promises]
        raise ValueError(f"these maskers draw {copies} masks per clip; the numbers must agree")
    return Promises(
        context=(
            min(each.context[0] for each in promises),
            max(each.context[1] for each in promises),
        ),
        exact=all(each.exact and each.context == first.context for each in promises),
        overlap=any(each.overlap for each in promises),
        coupled=any(each.coupled for each in promises),
        copies=first.copies,
        needs=next(iter(needs), None),
        uneven=_first(promises, lambda each: each.uneven),
        unvisited=_first(promises, lambda each: each.unvisited),
        slow=_first(promises, lambda each: each.slow),
    )


def select_masks(masks: Sequence[Mask], which: Tensor) -> Mask:
    """Takes sample i from `masks[which[i]]`; `which` is int64 (samples,)."""
    blocks = max(mask.targets.shape[1] for mask in masks)
    masks = [pad_blocks(mask, blocks) for mask in masks]
    rows = torch.arange(len(which))
    return Mask(
        torch.stack([mask.context for mask in masks])[which, rows],
        torch.stack([mask.targets for mask in masks])[which, rows],
        torch.stack([get_fallback(mask) for mask in masks])[which, rows],
    )


def pad_blocks(mask: Mask, blocks: int) -> Mask:
    """Adds empty target blocks up to a number of `blocks`, not less than those present."""
    batch, present, patches = mask.targets.shape
    empty = mask.targets.new_zeros(batch, blocks - present, patches)
    return Mask(mask.context, torch.cat([mask.targets, empty], dim=1), mask.fallback)


def get_fallback(mask: Mask) -> Tensor:
    """Returns the `fallback` of a mask, bool (batch,); all False if it is not recorded."""
    if mask.fallback is None:
        return torch.zeros(len(mask.context), dtype=torch.bool)
    return mask.fallback


def _first(promises: Sequence[Promises], reason: Callable[[Promises], str]) -> str:
    return next((reason(each) for each in promises if reason(each)), "")
