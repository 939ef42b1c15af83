"""Schedules reach their end at the last step."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.training.schedules import cosine, linear, ramp, warm_decay


@given(st.integers(2, 10_000), st.floats(0, 0.9))
def test_the_rate_is_zero_at_the_last_step_and_peaks_after_the_warm_up(steps, warmup):
    rates = [warm_decay(1.0, step, steps, warmup) for step in (0, round(warmup * steps), steps - 1)]
    assert rates[0] > 0
    if round(warmup * steps) < steps - 1:  # else the last step directly follows the warm-up
        assert rates[-1] == pytest.approx(0, abs=1e-12)
        assert rates[1] == pytest.approx(1.0)


@given(st.integers(2, 10_000))
def test_progress_runs_from_0_at_the_first_step_to_1_at_the_last(steps):
    assert ramp(0, steps) == 0
    assert ramp(steps - 1, steps) == 1


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_a_schedule_starts_and_ends_at_its_values(schedule):
    assert schedule(0.99, 1.0, 0.0) == pytest.approx(0.99)
    assert schedule(0.99, 1.0, 1.0) == pytest.approx(1.0)
    assert schedule(0.0, 1.0, 0.5) == pytest.approx(0.5)


def test_the_rate_never_jumps():
    rates = [warm_decay(1.0, step, 1000, 0.1) for step in range(1000)]
    assert max(abs(a - b) for a, b in pairwise(rates)) <= 0.0101
