"""Measures attention weights, which the kernels that compute attention do not return."""

import torch
from einops import rearrange
from torch import Tensor

from ablate.core.device import on_device
from ablate.model.packing import pad_segments
from ablate.model.segments import Segments

CELLS = 2**26  # weights that are computed at once; a quarter of a gigabyte


def average_attention(
    query: Tensor, key: Tensor, segments: Segments, *, from_first: bool
) -> Tensor:
    """Averages the attention that each token receives, over heads and queries: `(tokens,)`.

    Args:
        query: `(tokens, heads, head dim)`.
        key: The same shape.
        segments: The segments within which tokens attend; without filler.
        from_first: Whether only the first token of each segment is a query, instead of all.
    """
    heads = query.shape[1]
    queries, keys = (
        rearrange(
            pad_segments(part.flatten(1).float(), segments),
            "segments longest (heads dim) -> segments heads longest dim",
            heads=heads,
        )
        for part in (query, key)
    )
    allowed = segments.allowed_on(query.device)
    real = on_device(segments.real, query.device)
    queries = queries[:, :, :1] if from_first else queries
    step = max(1, CELLS // (heads * queries.shape[2] * keys.shape[2]))
    received = torch.cat(
        [
            _average(queries[part], keys[part], allowed[part], real[part])
            for part in map(lambda n: slice(n, n + step), range(0, len(keys), step))
        ]
    )
    return received[real]


def _average(queries: Tensor, keys: Tensor, allowed: Tensor, real: Tensor) -> Tensor:
    """Returns the attention that each key of padded segments receives, `(segments, longest)`.

    It is computed in float32 even under autocast, so that keys seldom tie.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries @ keys.transpose(2, 3) / queries.shape[-1] ** 0.5
    weights = logits.masked_fill(~allowed[..., : queries.shape[2], :], -torch.inf).softmax(dim=-1)
    counted = real[:, : queries.shape[2]].float()
    mean = weights.mean(dim=1) * counted.unsqueeze(2)  # padded queries do not count
    received: Tensor = mean.sum(dim=1) / counted.sum(dim=1, keepdim=True)
    return received
