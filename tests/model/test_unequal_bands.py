"""Patches of unequal height: contract, resizing and refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import generator
from ablate.model.masking import Grid
from ablate.model.stems import LinearStem
from ablate.model.unequal_bands import UnequalBands, get_resizing
from ablate.testing import check_patchifier


@pytest.mark.parametrize(
    "patchifier",
    [
        UnequalBands(),
        UnequalBands(values="pad"),
        UnequalBands(freq=(3, 7, 20, 50), time=4),
        UnequalBands(freq=(32, 16, 16), time=10),
        UnequalBands(freq=(1, 2), time=1, values="pad"),
    ],
    ids=repr,
)
def test_unequal_bands_keep_the_contract(patchifier):
    check_patchifier(patchifier, max_examples=25)


@given(heights=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_linear_stem_projects_each_height_with_optimally_resized_weights(heights, seed):
    highest, time = max(heights), 3
    patchifier = UnequalBands(freq=tuple(heights), time=time)
    stem = LinearStem().build(patchifier.pixels, 5)
    weight = torch.randn(5, highest, time, generator=generator(seed, "weight"))
    with torch.no_grad():
        stem.weight.copy_(weight.flatten(1))
    mels = torch.randn(1, sum(heights), time, generator=generator(seed, "mels"))
    tokens = stem(patchifier.cut(mels)[0])
    for token, row, height in zip(tokens, mels[0].split(heights), heights, strict=True):
        # least squares: weights whose tokens of shrunk patches are closest to those of the whole
        shrink = get_resizing(height, highest)[0].double()
        resized = torch.linalg.solve(shrink @ shrink.T, shrink @ weight.double())
        expected = torch.einsum("dft,ft->d", resized, row.double())
        assert torch.allclose(token.double(), expected, atol=1e-3)


def test_the_highest_rows_are_cut_as_they_are():
    mels = torch.randn(2, 64, 32, generator=generator(0, "mels"))
    patches = UnequalBands(freq=(8, 8, 16, 32), time=16).cut(mels)
    assert torch.allclose(patches[:, 6], mels[:, 32:, :16].flatten(1), atol=1e-5)
    assert torch.allclose(patches[:, 7], mels[:, 32:, 16:].flatten(1), atol=1e-5)


def test_the_grid_has_a_row_for_each_height():
    assert UnequalBands(freq=(8, 24), time=5).grid(32, 100) == Grid(2, 20)


@pytest.mark.parametrize(
    ("bands", "frames", "message"),
    [(80, 96, "needs 64 mel bands, and `mel` gives 80"), (64, 100, "these would: 1, 2, 4, 5, 10")],
)
def test_a_size_that_does_not_fit_is_an_error(bands, frames, message):
    with pytest.raises(ValueError, match=message):
        UnequalBands().grid(bands, frames)


@pytest.mark.parametrize("settings", [{"freq": ()}, {"freq": (8, 0)}, {"time": 0}])
def test_impossible_heights_are_errors(settings):
    with pytest.raises(ValueError, match="must"):
        UnequalBands(**settings)
