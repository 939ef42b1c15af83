"""The onset F-measure pairs predicted and true onsets within a tolerance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from ablate.audio.annotations import Event
from ablate.probing.onsets import count_matches, find_onsets, measure_onsets
from ablate.probing.tasks import Task

TIMES = st.lists(st.integers(0, 40), max_size=12).map(lambda ticks: np.sort(np.array(ticks) / 100))


@given(TIMES, TIMES, st.integers(0, 20))
def test_the_number_of_pairs_is_that_of_a_maximum_matching(predicted, truth, ticks):
    close = np.abs(predicted[:, None] - truth[None]) <= ticks / 100 + 1e-9
    matching = maximum_bipartite_matching(csr_array(close.astype(np.int32)))
    assert count_matches(predicted, truth, ticks / 100) == (matching >= 0).sum()


@given(st.lists(st.booleans(), max_size=30))
def test_an_onset_is_a_moment_after_one_without_the_event(active):
    expected = [i for i, now in enumerate(active) if now and not (i and active[i - 1])]
    assert find_onsets(np.array(active, dtype=np.bool_)).tolist() == expected


def test_hits_are_counted_over_clips_and_classes():
    events = ((Event("a", 0.0, 0.4), Event("b", 0.2, 0.3)), (Event("a", 0.1, 0.2),))
    labels = np.ones((2, 2), dtype=np.bool_)
    task = Task("t", "events", ("a", "b"), np.arange(2), labels, {}, folded=False, events=events)
    scores = np.zeros((8, 2), dtype=np.float32)  # four moments of 0.1 s per clip
    scores[[0, 1], 0] = 1  # a at 0.0: right
    scores[3, 1] = 1  # b at 0.3: 0.1 s late
    scores[[4, 6], 0] = 1  # a at 0.0 (0.1 s early) and a second one at 0.2 (0.1 s late)
    metrics = measure_onsets(scores, np.array([4, 4]), task, np.arange(2), 0.1)
    assert metrics["onset_f1_50ms"] == pytest.approx(100 * 2 * 1 / (4 + 3))
    assert metrics["onset_f1_200ms"] == pytest.approx(100 * 2 * 3 / (4 + 3))
    assert set(measure_onsets(scores * 0, np.array([4, 4]), task, np.arange(2), 0.1).values()) == {
        0
    }
