"""Cutting mels into patches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.masking import Grid
from ablate.model.patchify import Rectangles

sizes = st.tuples(*[st.integers(1, 5)] * 4)


@given(sizes)
def test_a_patch_holds_its_rectangle_of_the_mel(sizes):
    rows, columns, freq, time = sizes
    patchifier = Rectangles(freq=freq, time=time)
    mels = torch.arange(2.0 * rows * freq * columns * time).view(2, rows * freq, columns * time)
    assert patchifier.grid(*mels.shape[1:]) == Grid(rows, columns)
    patches = patchifier.cut(mels)
    assert patches.shape == (2, rows * columns, patchifier.pixels)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        rectangle = mels[:, row * freq : (row + 1) * freq, column * time : (column + 1) * time]
        assert torch.equal(patches[:, index], rectangle.flatten(1))


@given(sizes, st.integers(1, 25))
def test_a_patch_is_valid_where_it_holds_a_real_frame(sizes, real):
    rows, columns, freq, time = sizes
    valid_frames = (torch.arange(columns * time) < real).unsqueeze(0)
    valid = Rectangles(freq=freq, time=time).valid(valid_frames, rows * freq)
    for index in range(rows * columns):
        column = index % columns
        frames = valid_frames[0, column * time : (column + 1) * time]
        assert valid[0, index] == frames.any()


@pytest.mark.parametrize(
    ("freq", "time", "message"),
    [
        (24, 16, r"`freq` 24 do not divide 64 mel bands; these would: 1, 2, 4, 8, 16, 32, 64"),
        (16, 100, r"`time` 100 do not divide 128 frames"),
    ],
)
def test_a_patch_that_does_not_divide_the_mel_is_refused_with_those_that_do(freq, time, message):
    with pytest.raises(ValueError, match=message):
        Rectangles(freq=freq, time=time).grid(64, 128)


def test_a_patch_of_no_size_is_refused():
    with pytest.raises(ValueError, match="`time` must be at least 1; got 0"):
        Rectangles(freq=16, time=0)
