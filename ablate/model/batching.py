"""How samples with different numbers of visible patches share a batch.

`pack` keeps every token and adds none. The others are what the literature did, kept for comparison:

- `pad` fills up to the longest sample: the same loss for more work.
- `truncate_first` cuts every sample to the smallest count of the batch in raster order, as the
  code of I-JEPA and V-JEPA does (https://arxiv.org/abs/2301.08243,
  https://arxiv.org/abs/2404.08471). On spectrograms this keeps low frequencies.
- `truncate_random` cuts to the same count, but keeps random patches.
"""

from typing import Literal

import torch
from torch import Tensor

from ablate.model.mask_sampling import choose
from ablate.model.masking import Mask

Batching = Literal["pack", "pad", "truncate_first", "truncate_random"]


def is_cut(batching: Batching) -> bool:
    """Returns whether each sample's mask is cut to the smallest count of its batch."""
    return batching in ("truncate_first", "truncate_random")


def truncate(mask: Mask, batching: Batching, generator: torch.Generator) -> Mask:
    """Cuts contexts to the smallest context of the batch, and blocks to its smallest block.

    Returns the mask unchanged unless `batching` truncates. Empty blocks stay empty and do not
    count. Call it with the masks of the *global* batch, before they are divided among ranks.
    """
    if not is_cut(batching):
        return mask
    at_random = generator if batching == "truncate_random" else None
    return Mask(_cut(mask.context, at_random), _cut(mask.targets, at_random), mask.fallback)


def _cut(member: Tensor, generator: torch.Generator | None) -> Tensor:
    counts = member.sum(dim=-1)
    least = counts[counts > 0].min()  # a sample may leave blocks empty
    if generator is not None:
        return choose(least.expand_as(counts), among=member, generator=generator)
    return member & (member.cumsum(dim=-1) <= least)
