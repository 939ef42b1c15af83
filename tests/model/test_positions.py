"""Position encodings on a grid."""

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


def test_half_of_a_position_encodes_frequency_and_half_time():
    positions = sine_cosine(Grid(3, 5), 16).view(3, 5, 16)
    assert torch.equal(positions[:, :1, :8].expand(3, 5, 8), positions[:, :, :8])
    assert torch.equal(positions[:1, :, 8:].expand(3, 5, 8), positions[:, :, 8:])


@given(grids)
def test_added_positions_equal_a_loop_over_the_grid(grid):
    place, zeros = torch.arange(grid.size), torch.zeros(grid.size, 16)
    separable, learned = build(SeparableLearned(), grid), build(Learned(time=12), grid)
    for row in range(grid.freq):
        for column in range(grid.time):
            index = row * grid.time + column
            rows, columns = separable.added.freq_embedding, separable.added.time_embedding
            assert torch.equal(separable.add(zeros, place)[index], rows[row] + columns[column])
            assert torch.equal(
                learned.add(zeros, place)[index], learned.added.embedding[row, column]
            )
            sines = [
                wave(axis / 10000 ** (pair / 4))
                for axis in (row, column)
                for wave in (math.sin, math.cos)
                for pair in range(4)
            ]
            added = build(SineCosine(), grid).add(zeros, place)[index]
            assert torch.allclose(added, torch.tensor(sines), atol=1e-5)


@pytest.mark.parametrize("settings", [SineCosine(), Learned(), SeparableLearned()])
def test_scale_multiplies_added_positions(settings):
    place, zeros = torch.arange(6), torch.zeros(6, 16)
    scaled = settings.build(Grid(2, 3), 16, 2, scale=0.2)
    initialise(scaled, 0, "positions")
    unscaled = build(settings, Grid(2, 3)).add(zeros, place)
    assert torch.allclose(scaled.add(zeros, place), 0.2 * unscaled)


def test_a_table_longer_than_the_grid_keeps_the_vectors_of_a_shorter_grid():
    long, short = (build(SeparableLearned(time=9), Grid(1, time)) for time in (9, 4))
    zeros = torch.zeros(4, 16)
    place = torch.arange(4)
    assert torch.equal(long.add(zeros, place), short.add(zeros, place))


def test_no_positions_leave_tokens_unchanged():
    positions, tokens = build(NoPositions(), Grid(2, 3)), torch.ones(6, 16)
    assert positions.add(tokens, torch.arange(6)) is tokens
    assert positions.rotation(torch.arange(6)) is None


def rotate(positions: Positions, part: Tensor, place: list[int]) -> Tensor:
    rotation = positions.rotation(torch.tensor(place))
    assert rotation is not None
    return rotation(part)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 99))
def test_rotary_scores_depend_on_the_distance_in_time_only(query_at, key_at, shift, seed):
    positions = build(Rotary1D(), Grid(1, 20))
    query, key = torch.randn(2, 1, 2, 8, generator=generator(seed))
    scores = [
        (rotate(positions, query, [query_at + by]) * rotate(positions, key, [key_at + by])).sum(-1)
        for by in (0, shift)
    ]
    assert torch.allclose(*scores, atol=1e-4)


@given(st.lists(st.integers(0, 4), min_size=6, max_size=6), st.integers(0, 99))
def test_rotary_scores_depend_on_the_distance_on_each_axis_only(places, seed):
    grid = Grid(10, 10)
    positions = build(Rotary2D(), grid)
    query, key = torch.randn(2, 1, 2, 8, generator=generator(seed))
    (row, column, other_row, other_column, down, right) = places

    def place(freq: int, time: int) -> list[int]:
        return [freq * grid.time + time]

    rotated_query = rotate(positions, query, place(row, column))
    rotated_key = rotate(positions, key, place(other_row, other_column))
    moved_query = rotate(positions, query, place(row + down, column + right))
    moved_key = rotate(positions, key, place(other_row + down, other_column + right))
    assert torch.allclose(
        (rotated_query * rotated_key).sum(-1), (moved_query * moved_key).sum(-1), atol=1e-4
    )


def test_each_pair_is_rotated_like_a_complex_number():
    positions, part = build(Rotary2D(base=100.0), Grid(3, 4)), torch.randn(12, 2, 8)
    expected = torch.empty_like(part)
    for place in range(12):
        row, column = divmod(place, 4)
        angles = [row, row / 100**0.5, column, column / 100**0.5]
        for pair, angle in enumerate(angles):
            number = torch.complex(part[place, :, pair], part[place, :, pair + 4])
            number = number * complex(math.cos(angle), math.sin(angle))
            expected[place, :, pair], expected[place, :, pair + 4] = number.real, number.imag
    assert torch.allclose(rotate(positions, part, list(range(12))), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [Rotary1D(), Rotary2D()])
def test_a_token_without_a_place_is_not_rotated(settings):
    part = torch.randn(1, 2, 8, generator=generator(0))
    assert torch.equal(rotate(build(settings, Grid(1, 5)), part, [-1]), part)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SeparableLearned(time=8), "positions with `time` 8 are too few for a grid of 9"),
        (SeparableLearned(freq=1), "positions with `freq` 1 are too few for a grid of 2"),
        (Learned(time=8), "positions with `time` 8 are too few"),
        (Rotary1D(), "encodes time only, but the grid has 2 rows of frequency; use Rotary2D"),
        (SineCosine1D(), "encodes time only, but the grid has 2 rows of frequency; use SineCosine"),
        (Rotary2D(base=1.0), "`base` must be above 1; got 1.0"),
    ],
)
def test_positions_that_cannot_distinguish_the_places_of_a_grid_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        settings.build(Grid(2, 9), 16, 2)


def test_a_head_width_that_rotary_positions_cannot_divide_is_rejected():
    with pytest.raises(ValueError, match="whose width is a multiple of 4; got 6"):
        Rotary2D().build(Grid(2, 9), 12, 2)
