"""Pictures of masks over spectrograms."""

import numpy as np
import pytest
import torch

from ablate.mask_analysis import pictures
from ablate.mask_analysis.pictures import HIDDEN_COLOUR, draw_masks, paint
from ablate.model.masking import Grid, Mask
from maskers import Bernoulli, Curriculum, Energy, MultiBlock, Random


def titles(monkeypatch, masker, **batched):
    """Draws masks and returns the titles of the panels."""
    panels = []
    monkeypatch.setattr(pictures, "_png", lambda figure: panels.extend(figure.axes) or b"")
    draw_masks(masker, Grid(8, 8), torch.rand(16, 16), torch.rand(1, 64, 4), **batched)
    return [axes.get_title() for axes in panels]


def make_mask(grid, chosen):
    context = torch.zeros(1, grid.size, dtype=torch.bool)
    context[0, chosen] = True
    return Mask(context, torch.zeros(1, 1, grid.size, dtype=torch.bool))


def is_hidden(picture):
    hidden = np.array([int(HIDDEN_COLOUR[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.isclose(picture, hidden, atol=1e-3).all(axis=-1)


def test_each_patch_covers_its_rectangle():
    grid, mel = Grid(2, 3), torch.rand(8, 12)
    for patch in range(6):
        visible = ~is_hidden(paint(mel, make_mask(grid, patch), grid))
        row, column = divmod(patch, 3)
        expected = np.zeros((8, 12), dtype=bool)
        expected[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4] = True
        assert np.array_equal(visible, expected)


@pytest.mark.parametrize("sizes", [(128, 1024), (126, 1016)])
def test_overlapping_patches_are_painted_next_to_each_other(sizes):
    grid = Grid(12, 101)
    visible = ~is_hidden(
        paint(torch.rand(*sizes), make_mask(grid, list(range(0, grid.size, 2))), grid)
    )
    assert visible.shape == sizes
    assert 0.45 < visible.mean() < 0.55


def test_a_waveform_is_painted_by_its_spectrogram():
    grid = Grid(1, 50)
    picture = paint(torch.randn(1, 16080), make_mask(grid, list(range(25))), grid)
    visible = ~is_hidden(picture)
    assert picture.shape[0] > 100
    assert visible[:, :45].all()
    assert not visible[:, -45:].any()


@pytest.mark.parametrize("masker", [Random(), Energy()])
def test_masks_are_drawn_on_grids_that_do_not_divide_the_picture(masker):
    picture = draw_masks(masker, Grid(3, 7), torch.rand(40, 90), torch.rand(1, 21, 5))
    assert picture.startswith(b"\x89PNG")


def test_a_context_is_drawn_after_batching(monkeypatch):
    def contexts(batching):
        titles_drawn = titles(monkeypatch, Bernoulli(), batching=batching, clips=64)
        return [int(title.split("context ")[1].split()[0]) for title in titles_drawn]

    packed, cut = contexts("pack"), contexts("truncate_first")
    assert all(less <= more for less, more in zip(cut, packed, strict=True))
    assert sum(cut) < sum(packed) - 10


def test_only_a_masker_that_changes_during_training_has_start_and_end_panels(monkeypatch):
    titles_drawn = titles(monkeypatch, Random(ratio=0.75))
    assert titles_drawn == [f"draw {i}: context 25 %, targets 75 %" for i in (1, 2, 3)]
    titles_drawn = titles(monkeypatch, Curriculum(start=MultiBlock(), end=Random()))
    assert [title.split(":")[0] for title in titles_drawn] == ["start", "middle", "end"]
