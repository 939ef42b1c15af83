"""Sampling for maskers draws rectangles, choices and shares with the declared properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.core.random import generator
from ablate.model.mask_sampling import (
    choose,
    choose_lowest,
    draw_rectangles,
    leave_visible,
    round_share,
)
from ablate.model.masking import Clips, Grid, check_range
from ablate.testing import Case, cases

GRIDS = [Grid(8, 64), Grid(14, 14), Grid(4, 8), Grid(1, 250), Grid(5, 13), Grid(32, 1)]


def draw(grid, batch, area, aspect=(0.75, 1.5), seed=0):
    clips, rng = Clips.unpadded(grid, batch), generator(seed, "rectangles")
    return draw_rectangles(clips, (batch,), area=area, aspect=aspect, generator=rng)


@given(cases(max_freq=8, max_time=32), st.floats(0.01, 1), st.floats(0.1, 10))
def test_a_rectangle_is_solid_and_inside_the_valid_part(case: Case, area, aspect):
    drawn = draw_rectangles(
        case.clips,
        (len(case.columns), 2),
        area=(area, area),
        aspect=(aspect, aspect),
        generator=generator(case.seed, "x"),
    )
    assert not (drawn & ~case.valid.unsqueeze(1)).any()
    cells = drawn.view(-1, case.grid.freq, case.grid.time)
    rows, columns = cells.any(dim=2), cells.any(dim=1)
    assert torch.equal(cells, rows.unsqueeze(2) & columns.unsqueeze(1))
    for line in (rows, columns):  # one run: it starts once
        starts = line[:, 0].int() + (line[:, 1:] & ~line[:, :-1]).sum(dim=1)
        assert (starts == 1).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rectangles_keep_their_area_on_every_grid(grid):
    share = draw(grid, 4000, (0.15, 0.2)).float().mean()
    assert share == pytest.approx(0.175, rel=0.12)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rectangles_reach_every_edge(grid):
    visits = draw(grid, 2000, (0.1, 0.2)).sum(dim=0).view(grid.freq, grid.time)
    assert visits[0].any()
    assert visits[-1].any()
    assert visits[:, 0].any()
    assert visits[:, -1].any()


def test_rectangles_of_one_aspect_are_as_tall_as_wide_in_shares_of_their_axes():
    cells = draw(Grid(8, 64), 500, (0.25, 0.25), aspect=(1.0, 1.0)).view(-1, 8, 64)
    assert (cells.any(dim=2).sum(dim=1) == 4).all()
    assert (cells.any(dim=1).sum(dim=1) == 32).all()


@given(st.integers(0, 20), st.integers(1, 20), st.integers(0, 9))
def test_choose_selects_exactly_the_requested_number_of_marked_patches(number, marked, seed):
    among = torch.zeros(1, 20, dtype=torch.bool)
    among[0, :marked] = True
    chosen = choose(torch.tensor([number]), among=among, generator=generator(seed, "choose"))
    assert chosen.sum() == min(number, marked)
    assert not (chosen & ~among).any()


def test_choose_selects_every_subset_with_equal_probability():
    among = torch.tensor([True, True, False, True, True, True]).expand(20_000, -1)
    number = torch.full((20_000,), 2)
    chosen = choose(number, among=among, generator=generator(0, "choose"))
    kinds, counts = chosen.unique(dim=0, return_counts=True)
    assert len(kinds) == 10  # two of five
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@given(st.integers(0, 99), st.integers(1, 4))
def test_choose_lowest_agrees_with_a_stable_sort_for_equal_scores(seed, kinds):
    rng = generator(seed, "lowest")
    scores = torch.randint(kinds, (3, 2, 30), generator=rng).float()
    among = torch.rand(3, 2, 30, generator=rng) < 0.7
    number = torch.randint(31, (3, 2), generator=rng).minimum(among.sum(dim=-1))
    rank = scores.masked_fill(~among, torch.inf).argsort(dim=-1, stable=True).argsort(dim=-1)
    expected = (rank < number.unsqueeze(-1)) & among
    assert torch.equal(choose_lowest(number, scores, among=among), expected)


@given(st.integers(2, 500), st.floats(0, 1))
def test_a_rounded_share_leaves_a_patch_on_either_side(count, share):
    number = round_share(torch.tensor([count]), share).item()
    assert 1 <= number <= count - 1
    assert abs(number - count * share) <= 1


def test_target_blocks_that_would_empty_the_context_are_dropped():
    grid = Grid(1, 4)
    valid = Clips.unpadded(grid, 1).valid
    targets = torch.tensor([[[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]], dtype=torch.bool)
    least = torch.tensor([1])
    mask = leave_visible(valid, targets, valid=valid, least=least, generator=generator(0, "x"))
    assert mask.targets.any(dim=2).tolist() == [[True, True, False]]
    assert mask.context.tolist() == [[False, False, False, True]]
    assert mask.fallback.all()


def test_a_block_that_covers_the_clip_loses_one_patch():
    valid = Clips.unpadded(Grid(1, 4), 1).valid
    least = torch.tensor([1])
    mask = leave_visible(
        valid, valid.unsqueeze(1), valid=valid, least=least, generator=generator(0, "x")
    )
    assert mask.context.sum() == 1
    assert torch.equal(mask.target_union, ~mask.context)
    assert mask.fallback.all()


@pytest.mark.parametrize("value", [1.5, (0.4, 0.2), (-0.1, 0.5)])
def test_a_range_outside_its_bounds_is_an_error_with_its_name(value):
    with pytest.raises(ValueError, match=r"`area` must lie in \[0, 1\]"):
        check_range("area", value, low=0, high=1)
