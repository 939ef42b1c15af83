"""Metrics, in percent, of the scores that a probe gives; the first of a kind is its headline.

Scores are (items, classes), higher is more likely. Where several classes may hold at once they
are probabilities, and 0.5 decides.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import LabelKind
from ablate.probing.tasks import Indices, Labels, Task

Scores = npt.NDArray[np.float32]
HEADLINE: Mapping[LabelKind, str] = {"single": "accuracy", "multi": "map", "events": "segment_f1"}
# what a probe chooses its epoch by: moments are ranked well before 0.5 tells them apart
CHOICE: Mapping[LabelKind, str] = {"single": "accuracy", "multi": "map", "events": "macro_f1"}
SEGMENT_SECONDS = 1.0  # as X-ARES cuts DESED


def measure(scores: Scores, truth: Labels) -> dict[str, float]:
    """Measures scores against one class for each item, (items,), or several, (items, classes).

    Gives `macro_f1` and either `map`, of several, or `accuracy`, with two classes also `eer`.
    """
    from sklearn.metrics import f1_score

    if truth.ndim == 2:
        guessed: Labels = scores > 0.5
        found = {"map": mean_average_precision(scores, truth)}
    else:
        guessed = scores.argmax(axis=1)
        found = {"accuracy": 100 * float((guessed == truth).mean())}
        if scores.shape[1] == 2 and len(np.unique(truth)) == 2:
            found["eer"] = equal_error_rate(scores[:, 1] - scores[:, 0], truth == 1)
    macro = f1_score(truth, guessed, average="macro", zero_division=0.0)
    return {**found, "macro_f1": 100 * float(macro)}


def mean_average_precision(scores: Scores, truth: npt.NDArray[np.generic]) -> float:
    """The mean over the classes that occur of the area under precision over recall, in percent.

    `truth` is (items, classes); 0 where no class occurs.
    """
    from sklearn.metrics import average_precision_score

    occur = truth.any(axis=0)
    if not occur.any():
        return 0.0
    return 100 * float(average_precision_score(truth[:, occur], scores[:, occur], average="macro"))


def equal_error_rate(scores: Scores, truth: npt.NDArray[np.bool_]) -> float:
    """The percentage at which as many are falsely accepted as falsely rejected; lower is better.

    Both are (items,); `truth` must hold both answers.
    """
    from sklearn.metrics import roc_curve

    accepted, detected, _ = roc_curve(truth, scores, drop_intermediate=False)
    lead = (1 - detected) - accepted  # falls from 1 to -1; the rate is where it is 0
    after = int(np.argmax(lead <= 0))
    before = max(0, after - 1)
    step = lead[before] - lead[after]
    share = lead[before] / step if step > 0 else 0.0
    return 100 * float(accepted[before] + share * (accepted[after] - accepted[before]))


def recall_at_1(similarity: Scores, truth: Labels) -> float:
    """The percentage of queries whose most similar item is of their class, or of one of theirs.

    `similarity` (queries, classes) is to the most similar item of each class; an item of several
    classes counts for each. `truth` is (queries,) or (queries, classes).
    """
    nearest = similarity == similarity.max(axis=1, keepdims=True)
    theirs = truth if truth.ndim == 2 else np.arange(similarity.shape[1]) == truth[:, None]
    return 100 * float((nearest & theirs).any(axis=1).mean())


def segment_f1(
    scores: Scores, moments: Indices, task: Task, clips: Indices, seconds: float
) -> dict[str, float]:
    """Measures events in segments of a second, as sed_eval does: a segment holds what it touches.

    `scores` (moments, classes) are those of the clips' moments, each `seconds` long, clip after
    clip; `moments` (clips,) are their counts. A guess belongs to the segment of its moment's
    middle. The mean is over the classes that occur; one that is never guessed counts as 0 in it,
    as with sed_eval's `zero_score`, which otherwise leaves it out, too. 0 where no class occurs.
    Mesaros et al., "Metrics for Polyphonic Sound Event Detection", 2016.
    https://doi.org/10.3390/app6060162
    """
    guessed, truth = [], []
    for clip, mine in zip(clips, np.split(scores, np.cumsum(moments)[:-1]), strict=True):
        events = task.events[int(clip)]
        ends = [len(mine) * seconds, *(event.stop for event in events)]
        segments = int(np.ceil(max(ends) / SEGMENT_SECONDS - 1e-9))
        said = np.zeros((segments, len(task.classes)), dtype=np.bool_)
        centres = (np.arange(len(mine)) + 0.5) * seconds
        np.logical_or.at(said, (centres // SEGMENT_SECONDS).astype(np.int64), mine > 0.5)
        real = np.zeros_like(said)
        for event in events:
            first = int(event.start // SEGMENT_SECONDS)
            stop = int(np.ceil(event.stop / SEGMENT_SECONDS - 1e-9))
            real[first:stop, task.classes.index(event.name)] = True
        guessed.append(said)
        truth.append(real)
    held, told = np.concatenate(truth), np.concatenate(guessed)
    hits, counts = (held & told).sum(axis=0), held.sum(axis=0) + told.sum(axis=0)
    occur = held.any(axis=0)
    macro = (2 * hits[occur] / counts[occur]).mean() if occur.any() else 0.0
    micro = 2 * hits.sum() / max(counts.sum(), 1)
    return {"segment_f1": 100 * float(macro), "segment_f1_micro": 100 * float(micro)}
