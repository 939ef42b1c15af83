"""How samples with different numbers of visible patches share a batch.

`pack` keeps every token and adds none. The others are what the literature did, kept for comparison:

- `pad` fills up to the longest sample: the same loss for more work.
- `truncate_first` cuts every sample to the smallest count of the batch in raster order, as the
  code of I-JEPA and V-JEPA does (https://arxiv.org/abs/2301.08243,
  https://arxiv.org/abs/2404.08471). On spectrograms this keeps low frequencies.
- `truncate_random` cuts to the same count, but keeps random patches.

If clips have several masks, the first masks of all clips are cut to one count, the second ones to
another, and so on, as V-JEPA cuts each of its kinds of masks by itself. The count is that of the
global batch; `maskers.EqualCounts` cuts the clips of each device by themselves.
"""

from typing import Literal

import torch

from ablate.model.mask_sampling import cut_to_smallest
from ablate.model.masking import Mask

Batching = Literal["pack", "pad", "truncate_first", "truncate_random"]


def is_cut(batching: Batching) -> bool:
    """Returns whether each sample's mask is cut to the smallest count of its batch."""
    return batching in ("truncate_first", "truncate_random")


def truncate(
    mask: Mask, batching: Batching, generator: torch.Generator, *, copies: int = 1
) -> Mask:
    """Cuts contexts to the smallest context of the batch, and blocks to its smallest block.

    Returns the mask unchanged unless `batching` truncates. Empty blocks stay empty and do not
    count. Call it with the masks of the *global* batch, before they are divided among ranks.

    Args:
        mask: One mask per sample; those of a clip are next to each other.
        batching: How samples share a batch.
        generator: The source of randomness.
        copies: Masks per clip. The first masks of all clips are cut by themselves, and so on.
    """
    if not is_cut(batching):
        return mask
    at_random = generator if batching == "truncate_random" else None
    context, targets = mask.context.clone(), mask.targets.clone()
    for copy in range(copies):
        context[copy::copies] = cut_to_smallest(mask.context[copy::copies], at_random)
        targets[copy::copies] = cut_to_smallest(mask.targets[copy::copies], at_random)
    return Mask(context, targets, mask.fallback)
