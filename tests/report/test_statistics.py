"""The statistics have their mathematical properties, agree with statsmodels and are never NaN."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from ablate.report.stats.residuals import NullLaw
from ablate.report.stats.statistics import (
    Estimate,
    compute_effect_size,
    compute_equivalence_interval,
    compute_equivalence_p,
    compute_interaction_p,
    compute_seed_correlation,
    correct_by_holm,
    estimate_mean,
    get_verdict_word,
)
from tests.report.conftest import paired

scores = st.floats(-100, 100).map(lambda value: round(value, 3))
seeds = st.lists(scores, max_size=6)
tables = st.integers(1, 4).flatmap(
    lambda columns: st.lists(
        st.lists(scores, min_size=columns, max_size=columns), min_size=1, max_size=4
    )
)
chances = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=12)

BY_SEED = [[1.2, 3.1, 0.3], [0.4, 2.0, 0.9], [2.2, 2.9, 1.4]]  # rows seeds, columns combinations


def spread(values: list[float]) -> bool:
    return bool(values) and float(np.ptp(values)) > 0.01


@given(seeds, tables)
def test_no_statistic_is_nan(values: list[float], several: list[list[float]]) -> None:
    estimate = estimate_mean(values, alpha=0.05)
    p = compute_equivalence_p(estimate, margin=2.0)
    numbers = [
        *(value for value in vars(estimate).values() if not isinstance(value, NullLaw)),
        p,
        compute_effect_size(estimate),
        compute_interaction_p(several),
    ]
    assert all(math.isfinite(number) for number in numbers if number is not None)


@given(seeds, st.floats(0.1, 5.0))
def test_two_levels_are_equivalent_if_their_narrow_interval_lies_within_the_margin(
    values: list[float], margin: float
) -> None:
    estimate = estimate_mean(values, alpha=0.05)
    bounds, p = (
        compute_equivalence_interval(estimate, alpha=0.05),
        compute_equivalence_p(estimate, margin=margin),
    )
    assert (bounds is None) == (p is None)
    if bounds is not None and p is not None and abs(p - 0.05) > 1e-6:
        assert (max(map(abs, bounds)) < margin) == (p < 0.05)
        assert (estimate.low or 0.0) < bounds[0] < bounds[1] < (estimate.high or 0.0)


@given(seeds)
def test_an_interval_includes_its_mean_and_needs_two_numbers(values: list[float]) -> None:
    estimate = estimate_mean(values, alpha=0.05)
    if spread(values):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.mean is not None
        assert estimate.low < estimate.mean < estimate.high


@given(seeds)
def test_p_is_below_alpha_exactly_if_the_interval_excludes_zero(values: list[float]) -> None:
    estimate = estimate_mean(values, alpha=0.1)
    assume(estimate.p is not None and spread(values))
    assert estimate.p is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assume(abs(estimate.p - 0.1) > 1e-9)
    assert (estimate.p < 0.1) == (estimate.low > 0 or estimate.high < 0)


@given(seeds, scores)
def test_a_shift_changes_the_mean_and_not_the_spread(values: list[float], shift: float) -> None:
    assume(spread(values))
    before = estimate_mean(values, alpha=0.05)
    after = estimate_mean([value + shift for value in values], alpha=0.05)
    assert after.mean == pytest.approx((before.mean or 0) + shift, abs=1e-9)
    assert after.sd == pytest.approx(before.sd)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8))
def test_swapping_the_arms_mirrors_the_contrast(pairs: list[tuple[float, float]]) -> None:
    one, two = [a for a, _ in pairs], [b for _, b in pairs]
    ahead, back = paired(one, two), paired(two, one)
    assert ahead.mean == pytest.approx(-(back.mean or 0), abs=1e-9)
    assert ahead.p == pytest.approx(back.p)


def test_one_number_has_a_mean_and_no_interval() -> None:
    assert estimate_mean([31.5], alpha=0.05) == Estimate(n=1, mean=31.5)


def test_no_numbers_have_no_mean() -> None:
    assert estimate_mean([], alpha=0.05) == Estimate(n=0, mean=None)


@pytest.mark.parametrize("difference", [2.5, 0.0])
def test_equal_differences_in_every_seed_are_undecided(difference: float) -> None:
    estimate = paired([30.0 + difference, 32.5 + difference], [30.0, 32.5])
    assert estimate.is_constant
    assert (estimate.mean, estimate.p, estimate.low) == (difference, None, None)
    assert compute_equivalence_p(estimate, margin=100.0) is None


def test_the_interval_agrees_with_statsmodels() -> None:
    values = [1.2, 0.4, 2.2, 3.1]
    estimate = estimate_mean(values, alpha=0.05)
    low, high = DescrStatsW(values).tconfint_mean(alpha=0.05)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.p == pytest.approx(DescrStatsW(values).ttest_mean(0)[1])


def test_the_interaction_of_two_combinations_is_that_of_repeated_measures() -> None:
    two = [row[:2] for row in BY_SEED]
    rows = [
        (value, seed, place)
        for seed, values in enumerate(two)
        for place, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows, columns=["value", "seed", "place"])
    expected = (
        AnovaRM(frame, "value", "seed", within=["place"]).fit().anova_table["Pr > F"]["place"]
    )
    assert compute_interaction_p(two) == pytest.approx(expected)


def test_the_interaction_of_several_combinations_is_the_smallest_corrected_paired_p() -> None:
    columns = [*zip(*BY_SEED, strict=True)]
    ps = [stats.ttest_rel(one, other).pvalue for one, other in itertools.combinations(columns, 2)]
    assert compute_interaction_p(BY_SEED) == pytest.approx(
        min(p for p in correct_by_holm(ps) if p is not None)
    )


@given(tables, seeds.filter(lambda values: len(values) > 3))
def test_a_seed_effect_on_all_combinations_is_no_interaction(
    several: list[list[float]], luck: list[float]
) -> None:
    moved = [[value + values for value in row] for row, values in zip(several, luck, strict=False)]
    before, after = compute_interaction_p(several), compute_interaction_p(moved)
    assume(before is not None and after is not None)
    assert after == pytest.approx(before, rel=1e-3, abs=1e-6)


def test_an_interaction_needs_two_combinations_two_seeds_and_a_spread() -> None:
    assert compute_interaction_p([]) is None
    assert compute_interaction_p([[1.0], [2.0]]) is None
    assert compute_interaction_p([[1.0, 2.0]]) is None
    assert compute_interaction_p([[1.0, 1.0], [1.0, 1.0]]) is None
    assert compute_interaction_p([[1.0, 3.0], [1.0, 3.0]]) is None


def test_the_effect_size_is_bias_corrected() -> None:
    values = np.array([1.2, 0.4, 2.2, 3.1])
    estimate = estimate_mean(values.tolist(), alpha=0.05)
    bias = math.gamma(1.5) / (math.sqrt(1.5) * math.gamma(1.0))  # three degrees of freedom
    assert compute_effect_size(estimate) == pytest.approx(values.mean() / values.std(ddof=1) * bias)


def test_two_seeds_have_no_effect_size() -> None:
    assert compute_effect_size(estimate_mean([1.0, 2.0], alpha=0.05)) is None


@settings(max_examples=15)  # statsmodels is slow
@given(chances)
@example([0.01, 0.011, 0.5, None])
def test_holm_agrees_with_statsmodels(ps: list[float | None]) -> None:
    expected = multipletests([1.0 if p is None else p for p in ps], method="holm")[1]
    for corrected, p, value in zip(correct_by_holm(ps), ps, expected, strict=True):
        assert corrected == (None if p is None else pytest.approx(value))


@given(chances)
def test_holm_never_lowers_a_p_and_keeps_the_order(ps: list[float | None]) -> None:
    pairs = [
        (p, c)
        for p, c in zip(ps, correct_by_holm(ps), strict=True)
        if p is not None and c is not None
    ]
    assert all(p <= corrected <= 1 for p, corrected in pairs)
    ordered = [corrected for _, corrected in sorted(pairs)]
    assert ordered == sorted(ordered)


def test_an_empty_family_needs_no_correction() -> None:
    assert correct_by_holm([]) == []


def test_equivalence_agrees_with_two_one_sided_tests() -> None:
    one, two = np.array([31.0, 30.2, 32.9, 31.1]), np.array([30.4, 30.6, 32.1, 31.0])
    expected = ttost_paired(one, two, -2.0, 2.0)[0]
    estimate = paired(one.tolist(), two.tolist())
    assert compute_equivalence_p(estimate, margin=2.0) == pytest.approx(expected)


def test_the_seed_correlation_is_pearsons_within_combinations() -> None:
    one, two = [1.0, 2.0, 4.0], [2.0, 2.5, 5.0]
    expected = np.corrcoef(one, two)[0, 1]
    assert compute_seed_correlation([one], [two]) == pytest.approx(expected)
    moved = [value + 50 for value in two]
    assert compute_seed_correlation([one, one], [two, moved]) == pytest.approx(expected)


def test_two_pairs_or_a_flat_arm_have_no_correlation() -> None:
    assert compute_seed_correlation([[1.0, 2.0]], [[1.0, 3.0]]) is None
    assert compute_seed_correlation([[0.1 + 0.2, 0.3, 0.3]], [[1.0, 3.0, 2.0]]) is None


@pytest.mark.parametrize(
    ("mean", "p", "p_equivalent", "word"),
    [
        (3.0, 0.01, 0.9, "better"),
        (-3.0, 0.01, 0.9, "worse"),
        (0.2, 0.01, 0.01, "equivalent"),
        (0.2, 0.5, 0.3, "undecided"),
        (3.0, None, None, "undecided"),
    ],
)
def test_the_word_follows_from_the_p_values(
    mean: float, p: float | None, p_equivalent: float | None, word: str
) -> None:
    estimate = Estimate(n=3, mean=mean, sd=1, standard_error=1)
    assert get_verdict_word(estimate, p=p, p_equivalent=p_equivalent, alpha=0.05) == word
