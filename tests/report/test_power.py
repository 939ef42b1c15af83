"""Power and seed numbers agree with statsmodels, simulations and each other."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from ablate.report.stats.decision_rules import Looks, compute_look_alpha
from ablate.report.stats.power import (
    MAX_FURTHER_SEEDS,
    compute_decision_probability,
    compute_detectable_difference,
    compute_power,
    estimate_further_seeds,
    get_max_further_seeds,
)
from ablate.report.stats.statistics import estimate_mean

spreads = st.floats(0.05, 20)
counts = st.integers(2, 40)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
def test_power_agrees_with_statsmodels(seeds: int) -> None:
    expected = TTestPower().power(1.3 / 0.9, seeds, 0.05 / 4)
    assert compute_power(1.3, 0.9, seeds, alpha=0.05, family=4) == pytest.approx(expected)


@given(st.floats(0.1, 60), st.floats(0.005, 0.05))
def test_power_does_not_decrease_with_seeds(effect: float, alpha: float) -> None:
    computed = [compute_power(effect, 1.0, seeds, alpha=alpha) for seeds in range(2, 60)]
    assert (np.diff(computed) > -1e-9).all()
    assert all(0 <= power <= 1 + 1e-9 for power in computed)


@given(spreads, counts, st.integers(1, 60))
def test_the_detectable_difference_is_detected_with_the_target_power(
    spread: float, seeds: int, family: int
) -> None:
    computed = compute_detectable_difference(spread, seeds, alpha=0.05, family=family)
    assert compute_power(computed, spread, seeds, alpha=0.05, family=family) == pytest.approx(
        0.8, abs=1e-6
    )


@pytest.mark.parametrize(("seeds", "spreads"), [(3, 3.26), (5, 1.68), (10, 1.00)])
def test_the_detectable_difference_of_two_arms_agrees_with_published_values(
    seeds: int, spreads: float
) -> None:
    assert compute_detectable_difference(1.0, seeds, alpha=0.05) == pytest.approx(
        spreads, abs=0.005
    )


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"spread": 0.0, "seeds": 3}, "spread"),
        ({"spread": 1.0, "seeds": 1}, "seeds"),
        ({"spread": 1.0, "seeds": 3, "family": 0}, "family"),
    ],
)
def test_inputs_without_a_defined_power_are_rejected(settings: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=f"`{word}` must be"):
        compute_detectable_difference(**settings, alpha=0.05)  # type: ignore[arg-type]


@given(st.floats(0, 20), spreads, counts, st.integers(1, 60))
def test_without_a_margin_the_decision_probability_is_the_power(
    effect: float, spread: float, seeds: int, family: int
) -> None:
    expected = compute_power(effect, spread, seeds, alpha=0.05, family=family)
    computed = compute_decision_probability(
        effect, spread, seeds, margin=0, alpha=0.05, family=family
    )
    assert computed == pytest.approx(expected, abs=0.001)


@given(
    st.lists(st.floats(-5, 5), min_size=3, max_size=6),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.sampled_from([1, 3, 11]),
    st.integers(0, 1000),
)
def test_four_of_five_studies_are_decided_by_the_further_seeds(
    values: list[float], margin: float, family: int, seed: int
) -> None:
    estimate = estimate_mean(values, alpha=0.05)
    further = estimate_further_seeds(estimate, margin=margin, alpha=0.05, family=family)
    assume(further is not None and further <= MAX_FURTHER_SEEDS)
    assert further is not None
    draw = np.random.default_rng(seed)
    studies = draw.normal(estimate.mean, estimate.sd, (4000, len(values) + further))
    differs = stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05 / family
    below = stats.ttest_1samp(studies, margin, axis=1, alternative="less").pvalue
    above = stats.ttest_1samp(studies, -margin, axis=1, alternative="greater").pvalue
    equivalent = np.maximum(below, above) < 0.05 / family
    assert np.mean(differs | equivalent) >= 0.77
    fewer, mean, sd = len(values) + further - 1, estimate.mean or 0, estimate.sd or 0
    assert (
        further == 1
        or compute_decision_probability(mean, sd, fewer, margin=margin, alpha=0.05, family=family)
        < 0.8
    )


def test_a_tiny_effect_needs_more_than_the_maximum_of_seeds() -> None:
    estimate = estimate_mean([10.0, -10.0, 0.03], alpha=0.05)
    assert estimate_further_seeds(estimate, margin=0.1, alpha=0.05) == MAX_FURTHER_SEEDS + 1


def test_further_seeds_use_the_error_share_of_the_next_look() -> None:
    estimate, looks = (
        estimate_mean([0.8, 1.9, 3.3], alpha=0.05),
        Looks(seed_counts=(3,), max_seeds=30),
    )
    further = estimate_further_seeds(estimate, margin=0, alpha=0.05, looks=looks)
    assert further is not None
    shares = [
        compute_power(
            estimate.mean or 0,
            estimate.sd or 0,
            3 + k,
            alpha=compute_look_alpha((3, 3 + k), 30, alpha=0.05),
        )
        for k in (further - 1, further)
    ]
    assert shares[0] < 0.8 <= shares[1]


def test_further_seeds_are_limited_to_the_declared_ones() -> None:
    estimate, looks = (
        estimate_mean([10.0, -10.0, 3.0], alpha=0.05),
        Looks(seed_counts=(3,), max_seeds=5),
    )
    assert get_max_further_seeds(looks) == 2
    assert estimate_further_seeds(estimate, margin=1.0, alpha=0.05, looks=looks) == 3
