"""Norms of packed tokens without weights: over dimensions, or over the tokens of a sample."""

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.model.packing import Packing


def standardise(tokens: Tensor) -> Tensor:
    """Scales each row of `(tokens, dim)` to mean 0 and unbiased variance 1; constant rows to 0."""
    variance, mean = torch.var_mean(tokens, dim=-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-6).sqrt()


def segment_means(tokens: Tensor, packing: Packing) -> Tensor:
    """Averages `(tokens, dim)` over each sample's tokens, including filler: `(samples, dim)`."""
    lengths = on_device(torch.tensor(packing.segments.lengths, dtype=tokens.dtype), tokens.device)
    sums = tokens.new_zeros(len(lengths), tokens.shape[1]).index_add(0, packing.owner, tokens)
    return sums / lengths.unsqueeze(1)


def instance_norm(tokens: Tensor, packing: Packing) -> Tensor:
    """Scales each dimension of `(tokens, dim)` to mean 0 and variance 1 over a sample's tokens."""
    centred = tokens - segment_means(tokens, packing).index_select(0, packing.owner)
    variance = segment_means(centred.square(), packing)
    return centred * (variance + 1e-5).rsqrt().index_select(0, packing.owner)
