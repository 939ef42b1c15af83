"""All looks together spend the error level once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.records.plan import RecordedLooks
from ablate.report.stats.decision_rules import Looks, compute_look_alpha, read_looks
from tests.plans import make_plan

rising = st.sets(st.integers(1, 40), min_size=1).map(sorted).map(tuple)


@given(rising, st.integers(1, 40))
def test_all_looks_together_spend_exactly_alpha(counts: tuple[int, ...], most: int) -> None:
    spent = sum(compute_look_alpha(counts[: i + 1], most, alpha=0.05) for i in range(len(counts)))
    assert spent == pytest.approx(0.05 * min(counts[-1], most) / most)


@given(rising)
def test_seeds_beyond_the_declared_ones_have_no_error_share(counts: tuple[int, ...]) -> None:
    assert compute_look_alpha((*counts, counts[-1] + 1), counts[-1], alpha=0.05) == 0


def test_fixed_seeds_have_no_looks() -> None:
    assert read_looks(make_plan()) is None
    looks = RecordedLooks(seed_counts=(3, 5), max_seeds=8)
    assert read_looks(make_plan(looks=looks)) == Looks(seed_counts=(3, 5), max_seeds=8)


@pytest.mark.parametrize("counts", [(), (0, 3), (3, 3), (5, 3)])
def test_seed_counts_that_do_not_increase_are_rejected(counts: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"`seed_counts` must start at 1 or more and increase; got \["
    ):
        Looks(seed_counts=counts, max_seeds=8)


def test_a_maximum_of_zero_seeds_is_rejected() -> None:
    with pytest.raises(ValueError, match="`max_seeds` must be at least 1; got 0"):
        Looks(seed_counts=(3,), max_seeds=0)
