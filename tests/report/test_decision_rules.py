"""All looks together spend the error level once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.core.records.plan import RecordedLooks
from ablate.report.stats.decision_rules import Looks, compute_look_alpha, read_looks
from tests.plans import make_plan

rising = st.sets(st.integers(1, 40), min_size=1).map(sorted).map(tuple)


schedules = st.sampled_from([(3, 5, 7, 8), (2, 3, 4), (1, 4, 6), (4, 10), (3,)])


@given(schedules)
def test_all_looks_together_decide_in_alpha_of_the_studies(counts: tuple[int, ...]) -> None:
    values = np.random.default_rng(3).normal(size=(40_000, counts[-1]))
    decided = np.zeros(len(values), dtype=bool)
    for i, count in enumerate(counts):
        level = compute_look_alpha(counts[: i + 1], counts[-1], alpha=0.05)
        if count > 1:
            decided |= stats.ttest_1samp(values[:, :count], 0, axis=1).pvalue < level
    spent = 0.05 - 0.05 * (counts[0] == 1) / counts[-1] ** 3  # one seed decides nothing
    assert decided.mean() == pytest.approx(spent, abs=0.0045)


@given(schedules, st.floats(1e-5, 0.2))
def test_a_p_value_at_the_level_of_a_look_is_corrected_to_alpha(
    counts: tuple[int, ...], alpha: float
) -> None:
    looks = Looks(seed_counts=counts, max_seeds=counts[-1])
    level = looks.compute_level(alpha)
    assert looks.correct(level) == pytest.approx(alpha, rel=1e-6)
    assert alpha * looks.error_share <= level * (1 + 1e-9) <= 2


def test_the_published_schedule_has_its_exact_levels() -> None:
    counts, levels = (3, 5, 7, 8), (0.0026, 0.0099, 0.0256, 0.0340)  # by two million studies
    computed = [compute_look_alpha(counts[: i + 1], 8, alpha=0.05) for i in range(4)]
    assert computed == pytest.approx(levels, rel=0.03)


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
