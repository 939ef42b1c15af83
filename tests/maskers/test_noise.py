"""Noise-shaped masks have the spectrum and the clustering that they declare."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from scipy import ndimage, stats

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers.noise import Noise, PowerLaw, VoidAndCluster, _build_cosine_basis, _get_angles
from maskers.unstructured import Random

GRIDS = [Grid(8, 64), Grid(1, 64), Grid(5, 38)]


def draw_context(masker, grid, batch=400, **fields):
    mask = masker.draw(replace(Clips.unpadded(grid, batch), **fields), generator(0, "x"))
    return mask.context.view(batch, grid.freq, grid.time)


def compute_clustering(masker, grid, batch=400):
    """Computes how often neighbours in time are both visible; 1 if patches are independent."""
    visible = draw_context(masker, grid, batch)
    both = visible[:, :, 1:] & visible[:, :, :-1]
    return (both.float().mean() / visible.float().mean() ** 2).item()


def compute_power(masker, grid, low, high):
    """Computes the power of masks in a band of radians per patch; that of white noise is 1."""
    visible = draw_context(masker, grid, 2000).double()
    visible = visible - visible.mean(dim=(1, 2), keepdim=True)
    power = (
        (_build_cosine_basis(grid.freq) @ visible @ _build_cosine_basis(grid.time).T)
        .square()
        .mean(dim=0)
    )
    freq, time = _get_angles(grid)
    radius = (freq.square() + time.square()).sqrt()
    inside = (radius >= low) & (radius < high) & (radius > 0)
    return (power[inside].mean() / power.sum() * (grid.size - 1)).item()


def make_noise(colour, sigma):
    return Noise(colour=colour, sigma_freq=sigma, sigma_time=sigma)


def test_a_product_in_the_cosine_basis_is_a_convolution_between_reflecting_borders():
    white = torch.randn(7, 30, generator=generator(0, "x"), dtype=torch.double)
    rows, columns = _build_cosine_basis(7), _build_cosine_basis(30)
    freq, time = _get_angles(Grid(7, 30))
    gain = (-(1.5**2 * freq.square() + 2.5**2 * time.square()) / 2).exp()
    fast = rows.T @ (gain * (rows @ white @ columns.T)) @ columns
    slow = ndimage.gaussian_filter(white.numpy(), (1.5, 2.5), mode="reflect", truncate=8)
    assert torch.allclose(fast, torch.from_numpy(slow), atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_blue_noise_spreads_and_green_and_red_cluster(grid):
    around = [
        compute_clustering(make_noise(colour, 1.0), grid) for colour in ("blue", "green", "red")
    ]
    white = compute_clustering(Random(ratio=0.75), grid)
    assert around[0] < 0.8 * white
    assert white * 1.3 < around[1] < around[2]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_wider_red_makes_larger_clusters(grid):
    sizes = [compute_clustering(make_noise("red", sigma), grid) for sigma in (0.5, 1.0, 2.0)]
    assert sizes == sorted(sizes)


def test_each_colour_has_its_bands_and_lacks_the_others():
    bands = {
        colour: [
            compute_power(make_noise(colour, 0.5), Grid(8, 64), *band)
            for band in ((0, 0.5), (1.5, 2.5), (2.5, 5))
        ]
        for colour in ("red", "green", "blue", "purple")
    }
    low, middle, high = bands["red"]
    assert low > middle > high
    low, middle, high = bands["green"]
    assert middle > low
    assert middle > high
    low, middle, high = bands["blue"]
    assert high > middle > low
    low, middle, high = bands["purple"]
    assert low > 2 * middle
    assert high > 2 * middle


def test_a_larger_sigma_stretches_clusters_along_its_axis():
    visible = draw_context(
        Noise(colour="red", sigma_freq=0.5, sigma_time=4.0), Grid(16, 64)
    ).float()
    in_time = (visible[:, :, 1:] * visible[:, :, :-1]).mean()
    in_freq = (visible[:, 1:] * visible[:, :-1]).mean()
    assert in_time > 1.5 * in_freq


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_beta_decides_how_clustered_a_mask_is(grid):
    amounts = [compute_clustering(PowerLaw(beta=beta), grid) for beta in (-2, -1, 0, 0.5, 1, 2, 4)]
    assert all(more - less > 0.1 for less, more in pairwise(amounts))
    assert amounts[2] == pytest.approx(compute_clustering(Random(ratio=0.75), grid), abs=0.06)


def test_beta_zero_draws_all_masks_with_equal_probability():
    visible = draw_context(PowerLaw(beta=0, ratio=2 / 3), Grid(2, 3), 30_000).flatten(1)
    kinds, counts = visible.unique(dim=0, return_counts=True)
    assert len(kinds) == 15  # two of six
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize(
    "masker",
    [make_noise("red", 2.0), make_noise("green", 2.0), make_noise("blue", 1.0), PowerLaw(beta=2)],
    ids=str,
)
@pytest.mark.parametrize("grid", [*GRIDS, Grid(2, 3)], ids=str)
def test_borders_are_seen_as_often_as_the_middle(masker, grid):
    visits = draw_context(masker, grid, 4000).float().mean(dim=0)
    assert visits.min() > 0.7 * visits.mean()
    assert visits.max() < 1.3 * visits.mean()


def test_a_filter_that_removes_everything_gives_uniform_masks():
    visits = draw_context(Noise(colour="blue", sigma_freq=0.0, sigma_time=1.0), Grid(8, 1), 4000)
    assert visits.float().mean(dim=0).min() > 0.2


def test_filtering_nothing_is_an_error():
    with pytest.raises(ValueError, match="are both 0, which filters nothing; raise one"):
        Noise(sigma_freq=0, sigma_time=0)


@pytest.mark.parametrize(
    ("masker", "settings"),
    [
        (Noise, {"ratio": 1.0}),
        (Noise, {"sigma_time": -1.0}),
        (Noise, {"width": 1.0}),
        (PowerLaw, {"beta": -3.0}),
        (PowerLaw, {"ratio": 0.0}),
        (VoidAndCluster, {"swaps": -1.0}),
    ],
)
def test_a_setting_out_of_range_is_an_error_with_its_name(masker, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        masker(**settings)


def compute_window_variance(masker, grid, size):
    """Computes the variance of the visible patches in windows, over that of `Random`."""
    windows = [
        draw_context(each, grid, 100)
        .float()
        .unfold(1, size[0], 1)
        .unfold(2, size[1], 1)
        .sum(dim=(3, 4))
        for each in (masker, Random(ratio=masker.ratio))
    ]
    return (windows[0].var() / windows[1].var()).item()


@pytest.mark.parametrize(("grid", "size"), [(Grid(8, 64), (4, 4)), (Grid(1, 64), (1, 16))], ids=str)
def test_void_and_cluster_is_more_even_than_blue_noise(grid, size):
    even = compute_window_variance(VoidAndCluster(ratio=0.75), grid, size)
    assert even < 0.25
    assert even < 0.7 * compute_window_variance(Noise(colour="blue", ratio=0.75), grid, size)


def test_void_and_cluster_leaves_no_long_gap_on_one_row():
    visible = draw_context(VoidAndCluster(ratio=0.8), Grid(1, 64), 200)[:, 0]
    around = torch.cat([visible, visible], dim=1)
    assert around.unfold(1, 10, 1).any(dim=2).all()  # twice the mean spacing, around the edge
    assert not (around[:, 1:] & around[:, :-1]).any()


def test_void_and_cluster_treats_padding_as_evenly_covered():
    valid = (torch.arange(64) < 32).repeat(4).expand(400, -1)
    visits = (
        draw_context(VoidAndCluster(ratio=0.8), Grid(4, 64), 400, valid=valid)
        .float()
        .mean(dim=(0, 1))
    )
    assert visits[32:].sum() == 0
    assert visits[:32].min() > 0.6 * 0.2
    assert visits[:32].max() < 1.5 * 0.2


def test_void_and_cluster_without_swaps_is_uniform():
    assert compute_window_variance(
        VoidAndCluster(ratio=0.75, swaps=0.0), Grid(8, 64), (4, 4)
    ) == pytest.approx(1.0, abs=0.1)
