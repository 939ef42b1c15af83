"""Onset F-measure: how many events begin where a probe says, within a tolerance.

Mesaros et al., "Metrics for Polyphonic Sound Event Detection", 2016, sec. 3.2 (event-based metrics,
onset only). https://doi.org/10.3390/app6060162. HEAR uses it with 50 ms for MAESTRO and 200 ms for
DCASE 2016 (Turian et al., 2022, https://arxiv.org/abs/2203.03022).
Unlike HEAR: events are runs of moments with a probability above 0.5, without a median filter or a
least duration that is chosen on validation clips.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ablate.probing.metrics import Scores
from ablate.probing.tasks import Indices, Task

TOLERANCES: Mapping[str, float] = {"onset_f1_50ms": 0.05, "onset_f1_200ms": 0.2}  # seconds

Times = npt.NDArray[np.float64]


def measure_onsets(
    scores: Scores, moments: Indices, task: Task, clips: Indices, seconds: float
) -> dict[str, float]:
    """Computes the onset F-measure for each tolerance, counted over all clips and classes.

    Args:
        scores: (moments, classes), probabilities, clip after clip.
        moments: (clips,), number of moments of each clip.
        task: A task of events.
        clips: The clips, as positions in the task.
        seconds: Duration of a moment.

    Returns:
        Percentages by metric; 0 if nothing occurs and nothing is predicted.
    """
    hits, count = dict.fromkeys(TOLERANCES, 0), 0
    for clip, clip_scores in zip(clips, np.split(scores, np.cumsum(moments)[:-1]), strict=True):
        for column, name in enumerate(task.classes):
            predicted = find_onsets(clip_scores[:, column] > 0.5).astype(np.float64) * seconds
            events = task.events[int(clip)]
            truth = np.sort(np.array([event.start for event in events if event.name == name]))
            count += len(predicted) + len(truth)
            for metric, tolerance in TOLERANCES.items():
                hits[metric] += count_matches(predicted, truth, tolerance)
    return {metric: 200 * number / max(count, 1) for metric, number in hits.items()}


def find_onsets(active: npt.NDArray[np.bool_]) -> Indices:
    """Finds the first moment of each run of True, (moments,) to (runs,)."""
    begins = active & ~np.concatenate([[False], active[:-1]])
    return np.flatnonzero(begins)


def count_matches(predicted: Times, truth: Times, tolerance: float) -> int:
    """Counts the most pairs of sorted times that differ by at most `tolerance`, each used once.

    Pairing the earliest times first is best, because all times have the same tolerance.
    """
    place, matches = 0, 0
    for time in predicted:
        while place < len(truth) and truth[place] < time - tolerance - 1e-9:
            place += 1
        if place < len(truth) and truth[place] <= time + tolerance + 1e-9:
            matches += 1
            place += 1
    return matches
