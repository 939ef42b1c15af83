"""Unstructured masks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.chance import generator
from ablate.model.masking import Grid
from ablate.testing import Case, cases
from maskers import Random


@given(cases(max_time=64), st.floats(0.05, 0.95))
def test_a_fixed_ratio_hides_the_same_share_of_every_clips_valid_patches(case: Case, ratio):
    mask = Random(ratio=ratio)(
        case.grid, len(case.columns), generator=generator(0, "x"), valid=case.valid
    )
    count = case.valid.sum(dim=1)
    expected = ((1 - ratio) * count).round().clamp(min=1).minimum(count - 1)
    assert (mask.context.sum(dim=1) - expected).abs().max() <= 1
    assert (mask.context | mask.target_union).equal(case.valid)


def test_a_range_draws_a_ratio_for_every_sample():
    mask = Random(ratio=(0.4, 0.6))(Grid(8, 64), 400, generator=generator(0, "x"))
    share = mask.context.float().mean(dim=1)
    assert share.min() < 0.42
    assert share.max() > 0.58
    assert share.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ratio", [0.0, 1.0, (0.0, 0.5), 1.2])
def test_a_ratio_that_hides_nothing_or_everything_is_refused(ratio):
    with pytest.raises(ValueError, match="`ratio`"):
        Random(ratio=ratio)
