"""Masks painted over sound: every patch in its place, for any cut."""

import numpy as np
import pytest
import torch

from ablate.mask_analysis import pictures
from ablate.mask_analysis.pictures import UNSEEN, draw_masks, paint
from ablate.model.masking import Grid, Mask
from maskers import Bernoulli, Curriculum, Energy, MultiBlock, Random


def titles(monkeypatch, masker, **batched):
    """Draws masks and returns what the pictures are called."""
    found = []
    monkeypatch.setattr(pictures, "_png", lambda figure: found.extend(figure.axes) or b"")
    draw_masks(masker, Grid(8, 8), torch.rand(16, 16), torch.rand(1, 64, 4), **batched)
    return [axes.get_title() for axes in found]


def mask_of(grid, chosen):
    context = torch.zeros(1, grid.size, dtype=torch.bool)
    context[0, chosen] = True
    return Mask(context, torch.zeros(1, 1, grid.size, dtype=torch.bool))


def dark(picture):
    unseen = np.array([int(UNSEEN[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.isclose(picture, unseen, atol=1e-3).all(axis=-1)


def test_each_patch_is_painted_over_its_rectangle():
    grid, mel = Grid(2, 3), torch.rand(8, 12)
    for patch in range(6):
        seen = ~dark(paint(mel, mask_of(grid, patch), grid))
        row, column = divmod(patch, 3)
        expected = np.zeros((8, 12), dtype=bool)
        expected[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = True
        assert np.array_equal(seen, expected)


@pytest.mark.parametrize("sizes", [(128, 1024), (126, 1016)])
def test_patches_that_overlap_are_painted_side_by_side(sizes):
    grid = Grid(12, 101)
    seen = ~dark(paint(torch.rand(*sizes), mask_of(grid, list(range(0, grid.size, 2))), grid))
    assert seen.shape == sizes
    assert 0.45 < seen.mean() < 0.55


def test_a_waveform_is_painted_by_its_spectrogram():
    grid = Grid(1, 50)
    picture = paint(torch.randn(1, 16080), mask_of(grid, list(range(25))), grid)
    seen = ~dark(picture)
    assert picture.shape[0] > 100
    assert seen[:, :45].all()
    assert not seen[:, -45:].any()


@pytest.mark.parametrize("masker", [Random(), Energy()])
def test_masks_are_drawn_for_any_cut(masker):
    picture = draw_masks(masker, Grid(3, 7), torch.rand(40, 90), torch.rand(1, 21, 5))
    assert picture.startswith(b"\x89PNG")


def test_a_context_is_drawn_as_the_encoder_sees_it(monkeypatch):
    def contexts(batching):
        called = titles(monkeypatch, Bernoulli(), batching=batching, clips=64)
        return [int(title.split("context ")[1].split()[0]) for title in called]

    whole, cut = contexts("pack"), contexts("truncate_first")
    assert all(less <= more for less, more in zip(cut, whole, strict=True))
    assert sum(cut) < sum(whole) - 10


def test_only_a_masker_that_changes_in_training_has_a_start_and_an_end(monkeypatch):
    called = titles(monkeypatch, Random(ratio=0.75))
    assert called == [f"draw {i}: context 25 %, targets 75 %" for i in (1, 2, 3)]
    called = titles(monkeypatch, Curriculum(start=MultiBlock(), end=Random()))
    assert [title.split(":")[0] for title in called] == ["start", "middle", "end"]
