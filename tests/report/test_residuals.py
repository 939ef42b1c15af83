"""The error of a contrast uses the residuals of all levels only where that is right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.report.stats import residuals
from ablate.report.stats.power import compute_power
from ablate.report.stats.residuals import NullLaw, estimate_spread, estimate_variances
from ablate.report.stats.statistics import estimate_mean

shapes = st.tuples(st.integers(3, 5), st.integers(3, 6))


def table(shape: tuple[int, int], seed: int) -> residuals.Numbers:
    return np.random.default_rng(seed).normal(size=shape)


@given(shapes, st.integers(0, 1000))
def test_the_pooled_variance_is_the_residual_mean_square_of_a_two_way_table(
    shape: tuple[int, int], seed: int
) -> None:
    values, (levels, seeds) = table(shape, seed), shape
    squares = sum(
        (values[i, j] - values[i].mean() - values[:, j].mean() + values.mean()) ** 2
        for i in range(levels)
        for j in range(seeds)
    )
    expected = squares / ((levels - 1) * (seeds - 1))
    assert estimate_variances(values).pooled == pytest.approx(expected)


@given(shapes, st.integers(0, 1000), st.floats(0.1, 100), st.floats(-50, 50))
def test_the_estimate_ignores_what_all_levels_of_a_seed_share(
    shape: tuple[int, int], seed: int, scale: float, shift: float
) -> None:
    values = table(shape, seed)
    luck = shift * np.arange(shape[1])  # data order: the same for every level
    before = estimate_variances(values)
    after = estimate_variances(scale * values + luck)
    assert after.guarded == pytest.approx(scale**2 * before.guarded, rel=1e-6)


@pytest.mark.parametrize("shape", [(3, 3), (5, 4), (5, 8)])
def test_p_values_are_uniform_or_larger_without_a_difference(shape: tuple[int, int]) -> None:
    levels, seeds = shape
    draws = np.random.default_rng(1).normal(size=(20_000, *shape))
    t = (draws[:, 0] - draws[:, 1]).mean(-1) / np.sqrt(
        2 * estimate_variances(draws).guarded / seeds
    )
    for alpha in (0.2, 0.05, 0.01):
        share = float((np.abs(t) > NullLaw(seeds, levels).compute_critical_value(alpha)).mean())
        assert share < alpha + 4 * (alpha / 20_000) ** 0.5
        if seeds >= residuals.MIN_SEEDS_OF_TEST:
            assert share == pytest.approx(alpha, rel=0.15)


@given(st.integers(2, 6), st.integers(2, 5), st.floats(0.001, 0.5))
def test_the_critical_value_has_its_probability(seeds: int, levels: int, alpha: float) -> None:
    law = NullLaw(seeds, levels if seeds > 2 else 2)
    assert law.compute_p(law.compute_critical_value(alpha)) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 8), (5, 2)])
def test_two_levels_or_two_seeds_use_their_own_differences(shape: tuple[int, int]) -> None:
    assert estimate_spread(table(shape, 1)) is None


def test_a_much_noisier_level_ends_the_pooling() -> None:
    values = table((5, 8), 2)
    assert estimate_spread(values) is not None
    values[4] *= 20
    assert estimate_spread(values) is None


def test_a_noisy_level_of_the_contrast_widens_the_interval() -> None:
    values = table((5, 4), 3)
    calm = estimate_spread(values)
    values[0] *= 5
    noisy = estimate_spread(values)
    assert calm is not None
    assert noisy is not None
    assert noisy.tested > 2 * calm.tested


def test_without_pooling_the_interval_is_students() -> None:
    values = [0.4, 1.9, 1.1, 2.5]
    estimate = estimate_mean(values, alpha=0.05)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("levels", "seeds"), [(5, 3), (4, 6)])
def test_the_power_with_residuals_is_the_share_of_tables_that_find_the_effect(
    levels: int, seeds: int
) -> None:
    draws = np.random.default_rng(5).normal(size=(20_000, levels, seeds))
    effect = 2.0
    means = (draws[:, 0] - draws[:, 1]).mean(-1) + effect
    t = means / np.sqrt(2 * estimate_variances(draws).guarded / seeds)
    critical = NullLaw(seeds, levels).compute_critical_value(0.05 / 4)
    promised = compute_power(effect, 2**0.5, seeds, alpha=0.05, family=4, levels=levels)
    assert float((np.abs(t) > critical).mean()) == pytest.approx(promised, abs=0.02)
