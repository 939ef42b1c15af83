"""Positions on a grid of patches: fixed sines and cosines, half of `dim` for each axis."""

import torch
from torch import Tensor

from ablate.model.masking import Grid


def sine_cosine(grid: Grid, dim: int) -> Tensor:
    """Returns (patches, dim) positions; `dim` must be a multiple of 4.

    Vaswani et al., 2017, per axis, as in He et al., "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022. https://arxiv.org/abs/2111.06377
    """
    freq = torch.arange(grid.freq).repeat_interleave(grid.time)
    time = torch.arange(grid.time).repeat(grid.freq)
    return torch.cat([_waves(freq, dim // 2), _waves(time, dim // 2)], dim=1)


def _waves(place: Tensor, dim: int) -> Tensor:
    rates = 10000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angles = place.double().outer(rates)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
