"""Metrics of the scores that a probe returns, in percent.

Scores are (items, classes), higher is more likely. For multi-label tasks they are probabilities,
with 0.5 as the threshold; for tasks of numbers they are the numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import LabelKind
from ablate.probing.tasks import Indices, Labels, Task

Scores = npt.NDArray[np.float32]
Metric = Literal[
    "accuracy",
    "macro_f1",
    "map",
    "eer",
    "segment_f1",
    "segment_f1_micro",
    "segment_error_rate",
    "onset_f1_50ms",
    "onset_f1_200ms",
    "recall_at_1",
    "r2",
    "mae",
]
# the score is this number minus the metric
LOWER_IS_BETTER = {"eer": 100.0, "segment_error_rate": 100.0, "mae": 0.0}
# the metric that is reported as the score
HEADLINE: Mapping[LabelKind, str] = {
    "single": "accuracy",
    "multi": "map",
    "events": "segment_f1",
    "numbers": "r2",
}
# the metric by which a probe selects its epoch
SELECTION_METRIC: Mapping[LabelKind, str] = {
    "single": "accuracy",
    "multi": "map",
    # not the mean average precision: moments are ranked well long before 0.5 separates them
    "events": "macro_f1",
    "numbers": "r2",
}
SEGMENT_SECONDS = 1.0  # as in X-ARES for DESED


def measure(scores: Scores, truth: Labels) -> dict[str, float]:
    """Computes the metrics of a classification.

    Args:
        scores: (items, classes).
        truth: The class of each item (items,), or for multi-label tasks bool (items, classes), or
            numbers (items, names of numbers).

    Returns:
        `macro_f1`, and `map` for multi-label tasks or else `accuracy`; with two classes also `eer`.
        For numbers `r2` and `mae`.
    """
    from sklearn.metrics import f1_score

    if is_numbers(truth):
        return measure_numbers(scores, truth)
    if truth.ndim == 2:
        predicted: Labels = scores > 0.5
        metrics = {"map": mean_average_precision(scores, truth)}
    else:
        predicted = scores.argmax(axis=1)
        metrics = {"accuracy": 100 * float((predicted == truth).mean())}
        if scores.shape[1] == 2 and len(np.unique(truth)) == 2:
            metrics["eer"] = equal_error_rate(scores[:, 1] - scores[:, 0], truth == 1)
    macro = f1_score(truth, predicted, average="macro", zero_division=0.0)
    return {**metrics, "macro_f1": 100 * float(macro)}


def is_numbers(labels: Labels) -> bool:
    """Checks whether labels are numbers to predict, and not classes."""
    return labels.dtype.kind == "f"


def measure_numbers(predicted: Scores, truth: Labels) -> dict[str, float]:
    """Computes the metrics of numbers, both (items, names of numbers).

    Returns:
        `r2`: 100 times the mean over the numbers of 1 - squared error / squared deviation from the
        mean; 0 predicts as well as the mean, and less is worse. A number that is the same for all
        items does not count; 0 if there is no other.
        `mae`: the mean absolute error, in the unit of the labels.
    """
    errors = predicted.astype(np.float64) - truth
    deviations = ((truth - truth.mean(axis=0, dtype=np.float64)) ** 2).sum(axis=0)
    varied = deviations > 0
    r2 = 1 - (errors**2).sum(axis=0)[varied] / deviations[varied]
    return {
        "r2": 100 * float(r2.mean()) if varied.any() else 0.0,
        "mae": float(np.abs(errors).mean()),
    }


def convert_to_score(metrics: Mapping[str, float], name: str) -> float | None:
    """Returns a metric as a score, higher is better; None if it was not measured."""
    if name not in metrics:
        return None
    best = LOWER_IS_BETTER.get(name)
    return metrics[name] if best is None else best - metrics[name]


def mean_average_precision(scores: Scores, truth: npt.NDArray[np.generic]) -> float:
    """Computes the mean, over the classes that occur, of the area under the precision-recall curve.

    Both arguments are (items, classes). Returns a percentage; 0 if no class occurs.
    """
    from sklearn.metrics import average_precision_score

    occur = truth.any(axis=0)
    if not occur.any():
        return 0.0
    return 100 * float(average_precision_score(truth[:, occur], scores[:, occur], average="macro"))


def equal_error_rate(scores: Scores, truth: npt.NDArray[np.bool_]) -> float:
    """Computes the rate at which false acceptances equal false rejections; lower is better.

    Both arguments are (items,); `truth` must contain both True and False. Returns a percentage.
    """
    from sklearn.metrics import roc_curve

    accepted, detected, _ = roc_curve(truth, scores, drop_intermediate=False)
    lead = (1 - detected) - accepted  # falls from 1 to -1; the rates are equal where it is 0
    after = int(np.argmax(lead <= 0))
    before = max(0, after - 1)
    step = lead[before] - lead[after]
    share = lead[before] / step if step > 0 else 0.0
    return 100 * float(accepted[before] + share * (accepted[after] - accepted[before]))


def recall_at_1(similarity: Scores, truth: Labels) -> float:
    """Computes the share of queries whose most similar item has their class, or one of them.

    Args:
        similarity: (queries, classes), similarity to the most similar item of each class; an item
            of several classes counts for each.
        truth: (queries,) or (queries, classes).

    Returns:
        A percentage.
    """
    nearest = similarity == similarity.max(axis=1, keepdims=True)
    labels = truth if truth.ndim == 2 else np.arange(similarity.shape[1]) == truth[:, None]
    return 100 * float((nearest & labels).any(axis=1).mean())


@dataclass(frozen=True)
class SegmentLabels:
    """Events in segments of one second, clip after clip."""

    clips: Indices  # (segments,), positions in the task
    predicted: npt.NDArray[np.bool_]  # (segments, classes)
    truth: npt.NDArray[np.bool_]  # (segments, classes)


def find_segments(
    scores: Scores, moments: Indices, task: Task, clips: Indices, seconds: float
) -> SegmentLabels:
    """Finds the events in segments of one second, as sed_eval does.

    A segment has the class of every event that overlaps it. A prediction belongs to the segment
    that contains the middle of its moment.

    Args:
        scores: (moments, classes), probabilities, clip after clip.
        moments: (clips,), number of moments of each clip.
        task: A task of events.
        clips: The clips, as positions in the task.
        seconds: Duration of a moment.
    """
    predicted, truth = [], []
    for clip, clip_scores in zip(clips, np.split(scores, np.cumsum(moments)[:-1]), strict=True):
        events = task.events[int(clip)]
        ends = [len(clip_scores) * seconds, *(event.stop for event in events)]
        segments = int(np.ceil(max(ends) / SEGMENT_SECONDS - 1e-9))
        positive = np.zeros((segments, len(task.classes)), dtype=np.bool_)
        centres = (np.arange(len(clip_scores)) + 0.5) * seconds
        rows = (centres // SEGMENT_SECONDS).astype(np.int64)
        np.logical_or.at(positive, rows, clip_scores > 0.5)
        actual = np.zeros_like(positive)
        for event in events:
            first = int(event.start // SEGMENT_SECONDS)
            stop = int(np.ceil(event.stop / SEGMENT_SECONDS - 1e-9))
            actual[first:stop, task.classes.index(event.name)] = True
        predicted.append(positive)
        truth.append(actual)
    of_clip = np.repeat(clips, [len(positive) for positive in predicted])
    return SegmentLabels(of_clip, np.concatenate(predicted), np.concatenate(truth))


def segment_f1(segments: SegmentLabels) -> dict[str, float]:
    """Computes the F1 of events in segments of one second, as sed_eval does.

    The macro mean is over the classes that occur. A class that is never predicted counts as 0, as
    with sed_eval's `zero_score`. Returns 0 if no class occurs.

    Mesaros et al., "Metrics for Polyphonic Sound Event Detection", 2016.
    https://doi.org/10.3390/app6060162

    Returns:
        `segment_f1` (macro) and `segment_f1_micro`, as percentages.
    """
    actual, positive = segments.truth, segments.predicted
    hits, counts = (actual & positive).sum(axis=0), actual.sum(axis=0) + positive.sum(axis=0)
    occur = actual.any(axis=0)
    macro = (2 * hits[occur] / counts[occur]).mean() if occur.any() else 0.0
    micro = 2 * hits.sum() / max(counts.sum(), 1)
    return {"segment_f1": 100 * float(macro), "segment_f1_micro": 100 * float(micro)}


def segment_error_rate(segments: SegmentLabels) -> dict[str, float]:
    """Computes the error rate of events in segments of one second, as sed_eval does.

    In a segment, a missed event and one that was found by mistake are one substitution; the rate is
    that of substitutions, deletions and insertions, over the number of events, and may exceed 100.

    Mesaros et al., "Metrics for Polyphonic Sound Event Detection", 2016, sec. 3.1.
    https://doi.org/10.3390/app6060162

    Returns:
        `segment_error_rate`, as a percentage; without events, 100 times the number found.
    """
    missed = (segments.truth & ~segments.predicted).sum(axis=1)
    extra = (segments.predicted & ~segments.truth).sum(axis=1)
    errors, events = np.maximum(missed, extra).sum(), segments.truth.sum()
    return {"segment_error_rate": 100 * float(errors) / max(int(events), 1)}
