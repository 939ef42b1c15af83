"""Positions on a grid."""

import torch

from ablate.model.masking import Grid
from ablate.model.positions import sine_cosine


def test_no_two_patches_share_a_position():
    positions = sine_cosine(Grid(8, 64), 32)
    distances = torch.cdist(positions, positions) + torch.eye(8 * 64) * 9
    assert distances.min() > 1e-3


def test_half_of_a_position_tells_the_frequency_and_half_the_time():
    positions = sine_cosine(Grid(3, 5), 16).view(3, 5, 16)
    assert torch.equal(positions[:, :1, :8].expand(3, 5, 8), positions[:, :, :8])
    assert torch.equal(positions[:1, :, 8:].expand(3, 5, 8), positions[:, :, 8:])
