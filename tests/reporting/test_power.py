"""What is promised of a number of seeds agrees with statsmodels and with itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower

from ablate.reporting.power import (
    MOST_SEEDS,
    detectable_difference,
    further_seeds,
    most_further,
    power,
)
from ablate.reporting.sequential import Looks
from ablate.reporting.statistics import t_interval

spreads = st.floats(0.05, 20)
counts = st.integers(2, 40)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
def test_power_agrees_with_statsmodels(seeds: int) -> None:
    expected = TTestPower().power(1.3 / 0.9, seeds, 0.05 / 4)
    assert power(1.3, 0.9, seeds, alpha=0.05, family=4) == pytest.approx(expected)


@given(st.floats(0.1, 60), st.floats(0.005, 0.05))
def test_power_never_falls_with_more_seeds(effect: float, alpha: float) -> None:
    found = [power(effect, 1.0, seeds, alpha=alpha) for seeds in range(2, 60)]
    assert (np.diff(found) > -1e-9).all()
    assert all(0 <= of <= 1 + 1e-9 for of in found)


@given(spreads, counts, st.integers(1, 60))
def test_the_detectable_difference_is_seen_with_the_power_wanted(
    spread: float, seeds: int, family: int
) -> None:
    found = detectable_difference(spread, seeds, alpha=0.05, family=family)
    assert power(found, spread, seeds, alpha=0.05, family=family) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(("seeds", "spreads"), [(3, 3.26), (5, 1.68), (10, 1.00)])
def test_what_a_pair_of_arms_can_see_is_what_is_known(seeds: int, spreads: float) -> None:
    assert detectable_difference(1.0, seeds, alpha=0.05) == pytest.approx(spreads, abs=0.005)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"spread": 0.0, "seeds": 3}, "spread"),
        ({"spread": 1.0, "seeds": 1}, "seeds"),
        ({"spread": 1.0, "seeds": 3, "family": 0}, "family"),
    ],
)
def test_what_has_no_power_is_refused(settings: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=f"`{word}` must be"):
        detectable_difference(**settings, alpha=0.05)  # type: ignore[arg-type]


@given(st.floats(0.6, 5))
def test_further_seeds_are_the_fewest_that_suffice(effect: float) -> None:
    estimate = t_interval([-1.2, 0.9, 1.3], alpha=0.05)
    further = further_seeds(estimate, effect=effect, alpha=0.05)
    assert further is not None
    fewer, enough = (power(effect, estimate.sd or 0, n + further, alpha=0.05) for n in (2, 3))
    assert fewer < 0.8 or further == 1
    assert enough >= 0.8


def test_a_hopeless_effect_asks_for_more_seeds_than_anyone_has() -> None:
    estimate = t_interval([10.0, -10.0, 3.0], alpha=0.05)
    assert further_seeds(estimate, effect=0.01, alpha=0.05) == MOST_SEEDS + 1


def test_further_seeds_are_those_of_the_next_looks_share_of_the_error() -> None:
    estimate, looks = t_interval([-1.2, 0.9, 1.3], alpha=0.05), Looks(counts=(3,), most=12)
    further = further_seeds(estimate, effect=2.6, alpha=0.05, looks=looks)
    assert further is not None
    shares = [
        power(2.6, estimate.sd or 0, 3 + k, alpha=0.05 * k / 12) for k in (further - 1, further)
    ]
    assert shares[0] < 0.8 <= shares[1]


def test_no_more_seeds_are_asked_for_than_were_declared() -> None:
    estimate, looks = t_interval([10.0, -10.0, 3.0], alpha=0.05), Looks(counts=(3,), most=5)
    assert most_further(looks) == 2
    assert further_seeds(estimate, effect=1.0, alpha=0.05, looks=looks) == 3
