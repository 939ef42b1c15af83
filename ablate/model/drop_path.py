"""Drop path: in training, what a layer adds is now and then left out for a whole sample.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. https://arxiv.org/abs/1603.09382
"""

import torch
from torch import Tensor

from ablate.core.random import StepRandom
from ablate.model.attention import Segments
from ablate.model.device import on_device


def kept_paths(
    rate: float,
    paths: tuple[int, int],
    segments: Segments,
    device: torch.device,
    *,
    rng: StepRandom | None,
    copies: int = 1,
) -> Tensor | None:
    """Returns factors for what each branch of each layer adds, float32 (*paths, tokens, 1).

    `paths` counts the layers and the branches of each; segments are samples, `copies` of each
    clip. The rate rises linearly from 0 at the first layer to `rate` at the last. A sample drops a
    branch (0) or keeps it, multiplied so that its expectation stays. `None` where nothing can be
    dropped: without a rate, or without chance, as outside training.
    """
    if rng is None or rate == 0:
        return None
    layers, branches = paths
    samples = len(segments.lengths)
    drawn = torch.stack(
        [
            rng.uniform(samples, "drop path", layer, branch, copies=copies)
            for layer in range(layers)
            for branch in range(branches)
        ]
    ).view(layers, branches, samples)
    rates = torch.linspace(0, rate, layers) if layers > 1 else torch.tensor([rate])
    kept = (drawn >= rates.view(layers, 1, 1)) / (1 - rates.view(layers, 1, 1))
    owner = torch.arange(samples).repeat_interleave(torch.tensor(segments.lengths))
    # spread out over tokens there: what is sent is a number a sample
    return on_device(kept, device).index_select(2, on_device(owner, device)).unsqueeze(-1)


def check_drop_path(rate: float) -> None:
    """Raises `ValueError` for a rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"`drop_path` must lie in [0, 1); got {rate}")
