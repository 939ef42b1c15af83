"""Stochastic depth: drops residual branches per sample during training.

Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016. https://arxiv.org/abs/1603.09382
"""

import torch
from torch import Tensor

from ablate.core.device import on_device
from ablate.core.random import StepRandom
from ablate.model.segments import Segments


def drop_path_factors(
    rate: float,
    paths: tuple[int, int],
    segments: Segments,
    device: torch.device,
    *,
    rng: StepRandom | None,
    copies: int = 1,
) -> Tensor | None:
    """Draws the factor by which each residual branch is multiplied, per sample.

    A dropped branch has factor 0; a kept one has 1 / (1 - its rate), so that its expectation does
    not change. Rates rise linearly from 0 at the first layer to `rate` at the last.

    Args:
        rate: Drop rate of the last layer, in [0, 1).
        paths: Number of layers, and of branches per layer.
        segments: One segment per sample.
        device: Device of the result.
        rng: Random numbers of the training step, or None outside training.
        copies: Consecutive samples that belong to one clip.

    Returns:
        float32 `(layers, branches, tokens, 1)`, or None if nothing can be dropped: `rate` is 0 or
        `rng` is None.
    """
    if rng is None or rate == 0:
        return None
    layers, branches = paths
    samples = len(segments.lengths)
    uniform = torch.stack(
        [
            rng.uniform(samples, "drop path", layer, branch, copies=copies)
            for layer in range(layers)
            for branch in range(branches)
        ]
    ).view(layers, branches, samples)
    rates = torch.linspace(0, rate, layers) if layers > 1 else torch.tensor([rate])
    factors = (uniform >= rates.view(layers, 1, 1)) / (1 - rates.view(layers, 1, 1))
    owner = torch.arange(samples).repeat_interleave(torch.tensor(segments.lengths))
    # expanded to tokens on the device, so that only one number per sample is copied
    return on_device(factors, device).index_select(2, on_device(owner, device)).unsqueeze(-1)


def check_drop_path(rate: float) -> None:
    """Raises `ValueError` for a rate outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"`drop_path` must lie in [0, 1); got {rate}")
