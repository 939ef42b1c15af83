"""Unstructured masks, and masks whose patches keep a distance."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from ablate.testing import Case, cases
from maskers.unstructured import Bernoulli, Grouped, Lattice, PoissonDisk, Random, SharedRandom


def draw_context(masker, grid, batch, **fields):
    """Draws the context as a grid, bool (batch, freq, time)."""
    mask = masker.draw(replace(Clips.unpadded(grid, batch), **fields), generator(0, "x"))
    return mask.context.view(batch, grid.freq, grid.time)


def compute_min_distance(context, grid):
    """Returns the least squared distance between two visible patches of any sample."""
    cells = torch.stack([torch.arange(grid.size) // grid.time, torch.arange(grid.size) % grid.time])
    distance = (cells.unsqueeze(1) - cells.unsqueeze(2)).square().sum(dim=0)
    context = context.flatten(1)
    both = (context.unsqueeze(1) & context.unsqueeze(2)).any(dim=0)
    return int(distance[both & (distance > 0)].min())


@given(cases(max_time=64), st.floats(0.05, 0.95))
def test_a_fixed_ratio_hides_the_same_share_of_every_clips_valid_patches(case: Case, ratio):
    mask = Random(ratio=ratio).draw(case.clips, generator(0, "x"))
    count = case.valid.sum(dim=1)
    expected = ((1 - ratio) * count).round().clamp(min=1).minimum(count - 1)
    assert (mask.context.sum(dim=1) - expected).abs().max() <= 1
    assert (mask.context | mask.target_union).equal(case.valid)


def test_a_range_draws_a_ratio_for_every_sample():
    share = draw_context(Random(ratio=(0.4, 0.6)), Grid(8, 64), 400).float().mean(dim=(1, 2))
    assert share.min() < 0.42
    assert share.max() > 0.58
    assert share.mean() == pytest.approx(0.5, abs=0.01)


def test_a_range_per_batch_draws_one_ratio_for_all_samples_and_another_for_the_next_batch():
    masker, rng = Random(ratio=(0.4, 0.6), per="batch"), generator(0, "x")
    counts = [
        masker.draw(Clips.unpadded(Grid(8, 64), 8), rng).context.sum(dim=1) for _ in range(200)
    ]
    assert all((count == count[0]).all() for count in counts)
    shares = torch.stack(counts)[:, 0] / 512
    assert shares.min() < 0.42
    assert shares.max() > 0.58


@pytest.mark.parametrize(
    ("masker", "coupled"),
    [
        (Random(ratio=(0.4, 0.6)), False),
        (Random(ratio=(0.4, 0.6), per="batch"), True),
        (Random(ratio=0.6, per="batch"), False),
        (SharedRandom(), True),
    ],
)
def test_only_samples_that_share_a_ratio_or_a_mask_are_declared_coupled(masker, coupled):
    assert masker.promises.coupled is coupled


@pytest.mark.parametrize("masker", [Random, Bernoulli, Grouped, SharedRandom, PoissonDisk])
@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.2])
def test_a_ratio_that_hides_nothing_or_everything_is_an_error(masker, ratio):
    with pytest.raises(ValueError, match="`ratio`"):
        masker(ratio=ratio)


def test_bernoulli_counts_have_a_binomial_distribution():
    count = draw_context(Bernoulli(ratio=0.7), Grid(8, 64), 20_000).sum(dim=(1, 2)).float()
    assert count.mean() == pytest.approx(0.3 * 512, rel=0.01)
    assert count.std() == pytest.approx(math.sqrt(512 * 0.3 * 0.7), rel=0.03)


def test_bernoulli_leaves_a_patch_visible_and_one_hidden():
    count = draw_context(Bernoulli(ratio=0.99), Grid(1, 3), 1000).sum(dim=(1, 2))
    assert count.min() == 1
    assert count.max() <= 2


@pytest.mark.parametrize("grid", [Grid(1, 252), Grid(4, 60)], ids=str)
@pytest.mark.parametrize("group", [2, 3, 6])
def test_groups_are_hidden_completely_and_a_quarter_of_them_is_visible(grid, group):
    groups = draw_context(Grouped(ratio=0.75, group=group), grid, 50).view(50, -1, group)
    assert (groups.all(dim=2) == groups.any(dim=2)).all()
    kept = groups[:, :, 0].sum(dim=1)
    assert (kept - grid.size / group / 4).abs().max() <= 0.5


def test_a_row_shorter_than_two_groups_gets_smaller_ones():
    valid = torch.arange(12).expand(200, -1) < 5
    visible = draw_context(Grouped(ratio=0.5, group=6), Grid(1, 12), 200, valid=valid)[:, 0]
    pairs = visible[:, :4].view(200, 2, 2)
    assert (pairs.all(dim=2) == pairs.any(dim=2)).all()
    assert set(visible.sum(dim=1).tolist()) == {3, 4}  # two groups of three: 2, 2 and 1 patches


def test_all_samples_of_a_batch_share_one_mask_and_the_next_batch_another():
    masker, rng = SharedRandom(ratio=0.5), generator(0, "x")
    first, second = (masker.draw(Clips.unpadded(Grid(8, 16), 5), rng).context for _ in range(2))
    assert (first == first[0]).all()
    assert not torch.equal(first, second)


def test_shared_masks_visit_every_patch_equally_often():
    masker, rng = SharedRandom(ratio=0.5), generator(0, "x")
    visits = sum(masker.draw(Clips.unpadded(Grid(4, 8), 1), rng).context.int() for _ in range(4000))
    assert visits.min() > 1850
    assert visits.max() < 2150


def test_a_short_clip_takes_its_share_of_its_own_patches_from_the_shared_order():
    valid = torch.arange(40) < torch.tensor([[40], [20], [20], [3]])
    visible = draw_context(SharedRandom(ratio=0.5), Grid(1, 40), 4, valid=valid)[:, 0]
    assert visible.sum(dim=1).tolist() == [20, 10, 10, 2]
    assert torch.equal(visible[1], visible[2])
    nested = visible[0, :20] & visible[1, :20]
    assert nested.sum() == min(visible[0, :20].sum(), 10)


@pytest.mark.parametrize("staggered", [False, True])
def test_a_lattice_shows_one_patch_of_every_cell(staggered):
    visible = draw_context(Lattice(freq_step=2, time_step=4, staggered=staggered), Grid(8, 64), 100)
    cells = visible.view(100, 4, 2, 16, 4)
    rows = visible.any(dim=2)
    if not staggered:
        assert (cells.sum(dim=(2, 4)) == 1).all()
    assert (rows.view(100, 4, 2).sum(dim=2) == 1).all()
    assert (visible.sum(dim=2)[rows] == 16).all()


def test_a_staggered_lattice_of_one_by_two_is_a_checkerboard():
    visible = draw_context(Lattice(freq_step=1, time_step=2, staggered=True), Grid(8, 64), 100)
    assert (visible[:, :, 1:] != visible[:, :, :-1]).all()
    assert (visible[:, 1:] != visible[:, :-1]).all()
    assert visible[:, 0, 0].float().mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("grid", [Grid(1, 64), Grid(8, 64), Grid(64, 1)], ids=str)
def test_a_lattice_keeps_its_share_on_thin_grids(grid):
    assert (draw_context(Lattice(), grid, 50).sum(dim=(1, 2)) == grid.size // 4).all()


def test_a_cell_of_one_patch_is_an_error():
    with pytest.raises(ValueError, match="needs at least two patches; got `freq_step` 1"):
        Lattice(freq_step=1, time_step=1)


@pytest.mark.parametrize(
    ("ratio", "grid", "least"),
    [
        (0.75, Grid(8, 64), 2),  # squared, in patches: none side by side
        (0.9, Grid(8, 64), 5),
        (0.97, Grid(16, 64), 17),
        (0.75, Grid(1, 64), 4),
        (0.6, Grid(5, 38), 1),
    ],
)
def test_visible_patches_of_poisson_disks_keep_their_distance(ratio, grid, least):
    assert compute_min_distance(draw_context(PoissonDisk(ratio=ratio), grid, 200), grid) >= least


def test_poisson_disks_jam_at_the_density_of_random_sequential_adsorption():
    """Squares of 2 by 2 jam at a coverage of 0.748: 0.187 of the patches, none adjacent."""
    grid = Grid(48, 48)
    assert compute_min_distance(draw_context(PoissonDisk(ratio=1 - 0.182), grid, 5), grid) == 4
    assert compute_min_distance(draw_context(PoissonDisk(ratio=1 - 0.192), grid, 5), grid) == 2


@given(cases(max_time=48, max_batch=4), st.floats(0.05, 0.95))
def test_the_number_of_poisson_disks_is_exact_on_every_clip(case: Case, ratio):
    mask = PoissonDisk(ratio=ratio).draw(case.clips, generator(case.seed, "x"))
    count = case.valid.sum(dim=1)
    expected = ((1 - ratio) * count).round().clamp(min=1).minimum(count - 1)
    assert (mask.context.sum(dim=1) - expected).abs().max() <= 1
    assert not (mask.context & ~case.valid).any()
