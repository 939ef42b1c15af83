"""The statistics keep their laws, agree with statsmodels, and never give NaN."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from ablate.reporting.statistics import (
    MOST_SEEDS,
    Estimate,
    equivalence,
    further_seeds,
    holm,
    interaction,
    paired,
    paired_power,
    seed_correlation,
    t_interval,
    verdict_word,
)

scores = st.floats(-100, 100).map(lambda value: round(value, 3))
seeds = st.lists(scores, max_size=6)
groups = st.lists(seeds, min_size=1, max_size=4)
chances = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=12)

UNEQUAL = [[1.2, 0.4, 2.2], [3.1, 2.0], [0.3, 0.9, 1.4, -0.2]]


def spread(values: list[float]) -> bool:
    return bool(values) and float(np.ptp(values)) > 0.01


@given(seeds, groups)
def test_no_number_is_ever_nan(values: list[float], several: list[list[float]]) -> None:
    estimate = t_interval(values, alpha=0.05)
    p = equivalence(estimate, margin=2.0)
    further = further_seeds(estimate, effect=2.0, alpha=0.05)
    found = [*vars(estimate).values(), p, further, interaction(several)]
    assert all(math.isfinite(number) for number in found if number is not None)


@given(seeds)
def test_an_interval_holds_its_mean_and_is_there_from_two_numbers_on(values: list[float]) -> None:
    estimate = t_interval(values, alpha=0.05)
    if spread(values):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.mean is not None
        assert estimate.low < estimate.mean < estimate.high


@given(seeds)
def test_p_is_below_alpha_exactly_where_the_interval_leaves_zero_out(values: list[float]) -> None:
    estimate = t_interval(values, alpha=0.1)
    assume(estimate.p is not None and spread(values))
    assert estimate.p is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assume(abs(estimate.p - 0.1) > 1e-9)
    assert (estimate.p < 0.1) == (estimate.low > 0 or estimate.high < 0)


@given(seeds, scores)
def test_a_shift_moves_the_mean_and_leaves_the_spread(values: list[float], shift: float) -> None:
    assume(spread(values))
    before = t_interval(values, alpha=0.05)
    after = t_interval([value + shift for value in values], alpha=0.05)
    assert after.mean == pytest.approx((before.mean or 0) + shift, abs=1e-9)
    assert after.sd == pytest.approx(before.sd)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8))
def test_swapping_the_arms_mirrors_the_contrast(pairs: list[tuple[float, float]]) -> None:
    one, two = [a for a, _ in pairs], [b for _, b in pairs]
    ahead, back = paired(one, two, alpha=0.05), paired(two, one, alpha=0.05)
    assert ahead.mean == pytest.approx(-(back.mean or 0), abs=1e-9)
    assert ahead.p == pytest.approx(back.p)


def test_one_number_has_a_mean_and_no_interval() -> None:
    assert t_interval([31.5], alpha=0.05) == Estimate(n=1, mean=31.5)


def test_no_numbers_have_no_mean() -> None:
    assert t_interval([], alpha=0.05) == Estimate(n=0, mean=None)


@pytest.mark.parametrize("difference", [2.5, 0.0])
def test_the_same_difference_in_every_seed_proves_nothing(difference: float) -> None:
    estimate = paired([30.0 + difference, 32.5 + difference], [30.0, 32.5], alpha=0.05)
    assert estimate.has_no_spread
    assert (estimate.mean, estimate.p, estimate.low) == (difference, None, None)
    assert equivalence(estimate, margin=100.0) is None


def test_the_interval_agrees_with_statsmodels() -> None:
    values = [1.2, 0.4, 2.2, 3.1]
    estimate = t_interval(values, alpha=0.05)
    low, high = DescrStatsW(values).tconfint_mean(alpha=0.05)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.p == pytest.approx(DescrStatsW(values).ttest_mean(0)[1])


def test_the_interaction_agrees_with_an_analysis_of_variance() -> None:
    rows = [(value, str(i)) for i, group in enumerate(UNEQUAL) for value in group]
    fit = smf.ols("value ~ block", pd.DataFrame(rows, columns=["value", "block"])).fit()
    expected = sm.stats.anova_lm(fit)["PR(>F)"]["block"]
    assert interaction(UNEQUAL) == pytest.approx(expected)


def test_an_interaction_needs_two_combinations_and_some_spread() -> None:
    assert interaction([[1.0, 2.0]]) is None
    assert interaction([[1.0], [2.0]]) is None
    assert interaction([[1.0, 1.0], [1.0, 1.0]]) == 1.0
    assert interaction([[1.0, 1.0], [3.0, 3.0]]) == 0.0


@settings(max_examples=15)  # statsmodels is slow
@given(chances)
@example([0.01, 0.011, 0.5, None])
def test_holm_agrees_with_statsmodels(ps: list[float | None]) -> None:
    expected = multipletests([1.0 if p is None else p for p in ps], method="holm")[1]
    for corrected, p, value in zip(holm(ps), ps, expected, strict=True):
        assert corrected == (None if p is None else pytest.approx(value))


@given(chances)
def test_holm_never_lowers_a_p_and_keeps_the_order(ps: list[float | None]) -> None:
    pairs = [(p, c) for p, c in zip(ps, holm(ps), strict=True) if p is not None and c is not None]
    assert all(p <= corrected <= 1 for p, corrected in pairs)
    ordered = [corrected for _, corrected in sorted(pairs)]
    assert ordered == sorted(ordered)


def test_an_empty_family_needs_no_correction() -> None:
    assert holm([]) == []


def test_equivalence_agrees_with_two_one_sided_tests() -> None:
    one, two = np.array([31.0, 30.2, 32.9, 31.1]), np.array([30.4, 30.6, 32.1, 31.0])
    expected = ttost_paired(one, two, -2.0, 2.0)[0]
    estimate = paired(one.tolist(), two.tolist(), alpha=0.05)
    assert equivalence(estimate, margin=2.0) == pytest.approx(expected)


def test_power_agrees_with_statsmodels() -> None:
    seeds = np.array([2, 3, 5, 10, 20])
    expected = [TTestPower().power(1.3 / 0.9, int(n), 0.05) for n in seeds]
    assert paired_power(1.3, 0.9, seeds, alpha=0.05) == pytest.approx(expected)


@given(st.floats(0.1, 60), st.floats(0.005, 0.05))
def test_power_never_falls_with_more_seeds(effect: float, alpha: float) -> None:
    power = paired_power(effect, 1.0, np.arange(2, 60), alpha=alpha)
    assert (np.diff(power) > -1e-9).all()
    assert ((power >= 0) & (power <= 1 + 1e-9)).all()


@given(st.floats(0.6, 5))
def test_further_seeds_are_the_fewest_that_suffice(effect: float) -> None:
    estimate = t_interval([-1.2, 0.9, 1.3], alpha=0.05)
    further = further_seeds(estimate, effect=effect, alpha=0.05)
    assert further is not None
    n = np.array([2 + further, 3 + further])
    fewer, enough = paired_power(effect, estimate.sd or 0, n, alpha=0.05)
    assert fewer < 0.8 or further == 1
    assert enough >= 0.8


def test_a_hopeless_effect_asks_for_more_seeds_than_anyone_has() -> None:
    estimate = t_interval([10.0, -10.0, 3.0], alpha=0.05)
    assert further_seeds(estimate, effect=0.01, alpha=0.05) == MOST_SEEDS + 1


def test_the_seed_correlation_is_pearsons_within_combinations() -> None:
    one, two = [1.0, 2.0, 4.0], [2.0, 2.5, 5.0]
    expected = np.corrcoef(one, two)[0, 1]
    assert seed_correlation([one], [two]) == pytest.approx(expected)
    moved = [value + 50 for value in two]
    assert seed_correlation([one, one], [two, moved]) == pytest.approx(expected)


def test_two_pairs_or_a_flat_arm_have_no_correlation() -> None:
    assert seed_correlation([[1.0, 2.0]], [[1.0, 3.0]]) is None
    assert seed_correlation([[0.1 + 0.2, 0.3, 0.3]], [[1.0, 3.0, 2.0]]) is None


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
    estimate = Estimate(n=3, mean=mean, sd=1, error=1)
    assert verdict_word(estimate, p=p, p_equivalent=p_equivalent, alpha=0.05) == word
