"""Positions on a grid."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ablate.core.random import generator
from ablate.model.masking import Grid
from ablate.model.positions import (
    AbstractPositions,
    Learned,
    NoPositions,
    Positions,
    Rotary1D,
    Rotary2D,
    SeparableLearned,
    SineCosine,
    SineCosine1D,
    sine_cosine,
)
from ablate.model.transformer import initialise

grids = st.builds(Grid, st.integers(1, 4), st.integers(2, 9))


def build(settings: AbstractPositions, grid: Grid, dim: int = 16, heads: int = 2) -> Positions:
    positions = settings.build(grid, dim, heads)
    initialise(positions, 0, "positions")
    return positions


def test_no_two_patches_share_a_position():
    positions = sine_cosine(Grid(8, 64), 32)
    distances = torch.cdist(positions, positions) + torch.eye(8 * 64) * 9
    assert distances.min() > 1e-3


def test_half_of_a_position_tells_the_frequency_and_half_the_time():
    positions = sine_cosine(Grid(3, 5), 16).view(3, 5, 16)
    assert torch.equal(positions[:, :1, :8].expand(3, 5, 8), positions[:, :, :8])
    assert torch.equal(positions[:1, :, 8:].expand(3, 5, 8), positions[:, :, 8:])


@given(grids)
def test_what_is_added_is_what_a_loop_over_the_grid_would_add(grid):
    place, nothing = torch.arange(grid.size), torch.zeros(grid.size, 16)
    separable, learned = build(SeparableLearned(), grid), build(Learned(time=12), grid)
    for row in range(grid.freq):
        for column in range(grid.time):
            here = row * grid.time + column
            rows, columns = separable.added.freq_embedding, separable.added.time_embedding
            assert torch.equal(separable.add(nothing, place)[here], rows[row] + columns[column])
            assert torch.equal(
                learned.add(nothing, place)[here], learned.added.embedding[row, column]
            )
            sines = [
                wave(axis / 10000 ** (pair / 4))
                for axis in (row, column)
                for wave in (math.sin, math.cos)
                for pair in range(4)
            ]
            given = build(SineCosine(), grid).add(nothing, place)[here]
            assert torch.allclose(given, torch.tensor(sines), atol=1e-5)


@pytest.mark.parametrize("settings", [SineCosine(), Learned(), SeparableLearned()])
def test_a_scale_multiplies_what_is_added(settings):
    place, nothing = torch.arange(6), torch.zeros(6, 16)
    scaled = settings.build(Grid(2, 3), 16, 2, scale=0.2)
    initialise(scaled, 0, "positions")
    whole = build(settings, Grid(2, 3)).add(nothing, place)
    assert torch.allclose(scaled.add(nothing, place), 0.2 * whole)


def test_a_table_longer_than_the_grid_keeps_the_vectors_of_a_shorter_grid():
    long, short = (build(SeparableLearned(time=9), Grid(1, time)) for time in (9, 4))
    nothing = torch.zeros(4, 16)
    place = torch.arange(4)
    assert torch.equal(long.add(nothing, place), short.add(nothing, place))


def test_no_positions_change_nothing():
    positions, tokens = build(NoPositions(), Grid(2, 3)), torch.ones(6, 16)
    assert positions.add(tokens, torch.arange(6)) is tokens
    assert positions.rotation(torch.arange(6)) is None


def turned(positions: Positions, part: Tensor, place: list[int]) -> Tensor:
    rotation = positions.rotation(torch.tensor(place))
    assert rotation is not None
    return rotation(part)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 99))
def test_turned_in_time_only_the_distance_counts(query_at, key_at, shift, seed):
    positions = build(Rotary1D(), Grid(1, 20))
    query, key = torch.randn(2, 1, 2, 8, generator=generator(seed))
    scores = [
        (turned(positions, query, [query_at + by]) * turned(positions, key, [key_at + by])).sum(-1)
        for by in (0, shift)
    ]
    assert torch.allclose(*scores, atol=1e-4)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=6), st.integers(0, 99))
def test_turned_on_a_grid_only_the_distance_on_each_axis_counts(places, seed):
    grid = Grid(10, 10)
    positions = build(Rotary2D(), grid)
    query, key = torch.randn(2, 1, 2, 8, generator=generator(seed))
    (row, column, other_row, other_column, down, right) = places

    def at(freq: int, time: int) -> list[int]:
        return [freq * grid.time + time]

    here = turned(positions, query, at(row, column))
    there = turned(positions, key, at(other_row, other_column))
    moved_here = turned(positions, query, at(row + down, column + right))
    moved_there = turned(positions, key, at(other_row + down, other_column + right))
    assert torch.allclose((here * there).sum(-1), (moved_here * moved_there).sum(-1), atol=1e-4)


def test_each_pair_is_turned_as_a_complex_number_is():
    positions, part = build(Rotary2D(base=100.0), Grid(3, 4)), torch.randn(12, 2, 8)
    expected = torch.empty_like(part)
    for place in range(12):
        row, column = divmod(place, 4)
        angles = [row, row / 100**0.5, column, column / 100**0.5]
        for pair, angle in enumerate(angles):
            number = torch.complex(part[place, :, pair], part[place, :, pair + 4])
            number = number * complex(math.cos(angle), math.sin(angle))
            expected[place, :, pair], expected[place, :, pair + 4] = number.real, number.imag
    assert torch.allclose(turned(positions, part, list(range(12))), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [Rotary1D(), Rotary2D()])
def test_a_token_that_is_nowhere_is_not_turned(settings):
    part = torch.randn(1, 2, 8, generator=generator(0))
    assert torch.equal(turned(build(settings, Grid(1, 5)), part, [-1]), part)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SeparableLearned(time=8), "positions of `time` 8 are too few for a grid of 9"),
        (SeparableLearned(freq=1), "positions of `freq` 1 are too few for a grid of 2"),
        (Learned(time=8), "positions of `time` 8 are too few"),
        (Rotary1D(), "encodes time only, but the grid has 2 rows of frequency; use Rotary2D"),
        (SineCosine1D(), "encodes time only, but the grid has 2 rows of frequency; use SineCosine"),
        (Rotary2D(base=1.0), "`base` must be above 1; got 1.0"),
    ],
)
def test_positions_that_cannot_tell_a_grid_apart_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.build(Grid(2, 9), 16, 2)


def test_a_head_that_rotary_positions_cannot_share_out_is_refused():
    with pytest.raises(ValueError, match="whose width is a multiple of 4; got 6"):
        Rotary2D().build(Grid(2, 9), 12, 2)
