"""How samples with different numbers of visible patches share a batch.

`pack` keeps every token and adds none. The others are what the literature did, and may be
compared with it: `pad` fills up to the longest sample and gives the same loss for more work;
`truncate_first` cuts all to the poorest sample in raster order, as the code of I-JEPA and V-JEPA
does (https://arxiv.org/abs/2301.08243, https://arxiv.org/abs/2404.08471), which keeps low
frequencies; `truncate_random` cuts as much, but anywhere.
"""

from typing import Literal

import torch
from torch import Tensor

from ablate.model.masking import Mask, choose

Batching = Literal["pack", "pad", "truncate_first", "truncate_random"]


def is_cut(batching: Batching) -> bool:
    """Tells whether a sample's mask is cut to the smallest of its batch."""
    return batching in ("truncate_first", "truncate_random")


def truncate(mask: Mask, batching: Batching, generator: torch.Generator) -> Mask:
    """Cuts contexts to the smallest context of the batch, and blocks to its smallest block.

    Empty blocks stay empty and do not count. Leaves the mask as it is unless `batching` truncates.
    The smallest is that of the *global* batch: cut before the batch is divided.
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
