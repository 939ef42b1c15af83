"""Maskers made of maskers."""

import math

import pytest

from ablate.chance import generator
from ablate.model.masking import Grid
from maskers import Curriculum, MultiBlock, Random

PATH = Curriculum(start=Random(ratio=0.25), end=Random(ratio=0.75))


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_the_share_of_the_end_follows_the_square_root_competence(progress):
    mask = PATH(Grid(4, 8), 4000, generator=generator(0, "x"), progress=progress)
    late = (mask.context.sum(dim=1) == 8).float().mean()
    expected = math.sqrt(progress * (1 - 0.01**2) + 0.01**2)
    assert late == pytest.approx(expected, abs=0.03)


def test_samples_with_fewer_blocks_leave_the_rest_of_the_axis_empty():
    masker = Curriculum(start=MultiBlock(), end=Random())
    mask = masker(Grid(4, 8), 64, generator=generator(0, "x"), progress=0.25)
    blocks = mask.targets.any(dim=2).sum(dim=1)
    assert set(blocks.tolist()) == {1, 4}


def test_a_competence_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="`competence` must lie in"):
        Curriculum(start=Random(), end=Random(), competence=2.0)
