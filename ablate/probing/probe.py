"""The probing contract, and the examination that every probe is put through.

Features are standardised by the training part before a probe sees them, unless it says that it
takes them as they are: cosine neighbours of raw features follow whichever dimension is largest.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import LabelKind
from ablate.audio.sources import AbstractSource
from ablate.parts import AS_BEFORE
from ablate.probing.features import Heard
from ablate.probing.metrics import CHOICE, HEADLINE, Scores, measure, segment_f1
from ablate.probing.tasks import Examination, Indices, Labels, Task
from ablate.probing.views import SUMMARY, TOKENS, Views

Matrix = npt.NDArray[np.float32]
_ROWS_AT_ONCE = 65536
_USUAL_VIEWS = {"type": "ablate.probing.views.Views"}


class Score(TypedDict):
    """The headline in percent, higher is better. Of folds, `test` is the mean over `folds`."""

    valid: float | None
    test: float | None
    folds: list[float]
    metric: NotRequired[str]  # what the headline is; accuracy where it is not written
    seeds: NotRequired[list[float]]  # `test` by each seed of a probe that has several
    metrics: NotRequired[dict[str, float]]  # all that was measured on the test part


@dataclass(frozen=True)
class Features:
    """What one view shows of a task's clips, in the order of the task."""

    rows: Matrix  # (rows, dim), perhaps on disk
    counts: Indices  # (clips,): how many rows each clip has, side by side
    seconds: float = 0.0  # from one row of a clip to the next, where they are moments
    heard: Heard | None = None  # in place of rows, for a probe that hears

    @classmethod
    def of(cls, rows: Matrix) -> "Features":
        """One row for each clip."""
        return cls(rows, np.ones(len(rows), dtype=np.int64))

    @classmethod
    def as_heard(cls, heard: Heard) -> "Features":
        """The clips themselves, an empty row for each."""
        empty = np.zeros((len(heard.clips), 0), dtype=np.float32)
        return cls(empty, np.ones(len(empty), dtype=np.int64), heard=heard)

    def of_clips(self, clips: Indices) -> Indices:
        """Returns the rows of some clips, one clip after the other."""
        counts = self.counts[clips]
        before = np.cumsum(counts) - counts
        first = np.cumsum(self.counts) - self.counts
        found: Indices = np.repeat(first[clips] - before, counts) + np.arange(counts.sum())
        return found


@dataclass(frozen=True)
class Lesson:
    """What a probe is given: items, which of them it may learn from, and which it is asked.

    An item is one row of `features`; for a probe that reads tokens it is the rows between two
    neighbours of `bounds`. The labels of what is asked are blank, -1 or False, unless the probe
    opens the test.
    """

    features: Matrix  # (rows, dim), perhaps on disk: what is not looked at is not read
    labels: Labels  # (items,), or (items, classes) where several may hold
    classes: int
    known: Indices  # items, as are the next two
    valid: Indices  # to choose by: apart from `known`, or empty
    asked: Indices
    seed: int = 0
    bounds: Indices | None = None  # (items + 1,)
    choose_by: str = "accuracy"  # the metric of `measure` that `valid` is looked at by
    heard: Heard | None = None  # items as they sound, for a probe that hears
    owners: Indices | None = None  # (items,): the clip that each is of; None: each is a clip

    @property
    def several(self) -> bool:
        """Whether several classes may hold at once."""
        return self.labels.ndim == 2


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a plan found at a probe's own `tasks`: a score is of this sound and of no other."""

    digest: str  # of the clips, as their store names them
    tasks: tuple[str, ...]  # their names


@dataclass(frozen=True, kw_only=True)
class AbstractProbe(ABC):
    """Learns labels from frozen features. Subclasses are frozen keyword-only dataclasses.

    A subclass implements `predict`; everything else has a default.

    Example:
        A probe that predicts the class with the nearest mean:

        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> from ablate import AbstractProbe
        >>> @dataclass(frozen=True, kw_only=True)
        ... class NearestMean(AbstractProbe):
        ...     def predict(self, data):
        ...         rows, labels = data.features[data.train], data.labels[data.train]
        ...         classes = range(data.num_classes)
        ...         means = [rows[labels == label].mean(axis=0) for label in classes]
        ...         query = data.features[data.query]
        ...         return -np.stack([np.linalg.norm(query - mean, axis=1) for mean in means], 1)
        >>> NearestMean().num_seeds
        1
    """

    views: Views = field(default_factory=Views, metadata={AS_BEFORE: _USUAL_VIEWS})
    # the clips to examine on; by default those that the encoder is pre-trained on part of
    tasks: AbstractSource | None = field(default=None, metadata={AS_BEFORE: None})
    content: Content | None = field(default=None, metadata={AS_BEFORE: None})  # the plan's word

    standardises: ClassVar[bool] = True  # whether features are scaled before they are given
    reads_tokens: ClassVar[bool] = False  # whether an item is a clip's tokens, not one vector
    hears: ClassVar[bool] = False  # whether an item is a clip as it sounds: it learns the encoder
    headline: ClassVar[str | None] = None  # the metric of its score; None: that of the task's kind
    opens_the_test: ClassVar[bool] = False  # whether it may choose by what it is asked

    def __post_init__(self) -> None:
        wrong = [p for p in self.views.poolings if (p == TOKENS) != self.reads_tokens]
        if wrong:
            way_out = f"it reads `{TOKENS}`" if self.reads_tokens else "`Attentive` does"
            raise ValueError(f"`views.poolings`: this probe cannot read {wrong}; {way_out}")

    @property
    def num_seeds(self) -> int:
        """How many times it learns, with a seed each; 1 where there is no chance in it."""
        return 1

    @property
    def chooses(self) -> bool:
        """Whether it wants `valid` apart from `known`, to choose by."""
        return False

    def can_score(self, kind: LabelKind, pooling: str) -> bool:
        """Whether it scores tasks of a kind by a pooling: events need a row for each moment."""
        whole = self.hears or self.reads_tokens or self.headline is not None
        return kind != "events" or not (whole or pooling == SUMMARY)

    @abstractmethod
    def predict(self, lesson: Lesson) -> Scores:
        """Learns from what is known; returns float32 (asked, classes), higher is more likely.

        Where `lesson.several` they are probabilities, which 0.5 decides. All chance comes from
        `lesson.seed`.
        """

    def measure(self, scores: Scores, truth: Labels) -> dict[str, float]:
        """Measures its scores of clips, in percent; the headline is among what it returns."""
        return measure(scores, truth)


def examine(probe: AbstractProbe, features: Features, task: Task) -> Score:
    """Measures a probe on a task over its splits or across its folds, the mean over its seeds."""
    tested: list[list[dict[str, float]]] = []  # by seed, and of folds by fold
    valid: list[float] = []
    headline = probe.headline or HEADLINE[task.kind]
    for seed in range(probe.num_seeds):
        tests = []
        for examination in task.examinations():
            for part, found in _examined(probe, features, task, examination, seed).items():
                if part == "valid" and not task.folded:
                    valid.append(found[headline])
                else:
                    tests.append(found)
        tested.append(tests)
    score = Score(valid=_mean(valid), test=None, folds=[], metric=headline)
    if tested[0]:
        by_seed = [[found[headline] for found in tests] for tests in tested]
        score["test"] = float(np.mean(by_seed))
        score["metrics"] = {
            name: float(np.mean([found[name] for tests in tested for found in tests]))
            for name in tested[0][0]
            if all(name in found for tests in tested for found in tests)
        }
        if task.folded:
            score["folds"] = np.mean(by_seed, axis=0).tolist()
        if probe.num_seeds > 1:
            score["seeds"] = np.mean(by_seed, axis=1).tolist()
    return score


def standardise(features: Matrix, known: Indices) -> Matrix:
    """Scales each dimension of (rows, dim) to mean 0 and deviation 1 over the rows `known`."""
    mean = features[known].mean(axis=0, dtype=np.float64)
    std = features[known].std(axis=0, dtype=np.float64)
    std[std < 1e-8] = 1.0  # a constant dimension tells nothing; it becomes 0
    scaled = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), _ROWS_AT_ONCE):
        piece = slice(start, start + _ROWS_AT_ONCE)
        scaled[piece] = (features[piece] - mean) / std
    return scaled


def _examined(
    probe: AbstractProbe, features: Features, task: Task, examination: Examination, seed: int
) -> dict[str, dict[str, float]]:
    """Has a probe learn once, and measures it on every part that is asked."""
    known, valid = examination.known, examination.valid
    asked = np.concatenate(list(examination.asked.values()))
    shown = known
    if probe.opens_the_test and (task.folded or not len(valid)):
        valid, shown = asked, np.concatenate([known, asked])
    elif probe.chooses:
        known = np.setdiff1d(known, valid, assume_unique=True)
        shown = np.union1d(known, valid)
    else:
        valid = valid[:0]
    lesson = _lesson(probe, features, task, (known, valid, asked), shown, seed)
    scores = probe.predict(lesson)
    found, start = {}, 0
    for part, clips in examination.asked.items():
        stop = start + len(clips if lesson.bounds is not None else features.of_clips(clips))
        if task.kind == "events":
            counts, mine = features.counts[clips], scores[start:stop]
            found[part] = segment_f1(mine, counts, task, clips, features.seconds)
        else:
            found[part] = probe.measure(scores[start:stop], task.labels[clips])
        start = stop
    return found


def _lesson(
    probe: AbstractProbe,
    features: Features,
    task: Task,
    parts: tuple[Indices, Indices, Indices],
    shown: Indices,
    seed: int,
) -> Lesson:
    rows, labels = features.rows, _labels(features, task)
    bounds = owners = None
    if probe.reads_tokens:
        bounds = np.concatenate([[0], np.cumsum(features.counts)])
        known, valid, asked, open_ = *parts, shown
    else:
        known, valid, asked, open_ = map(features.of_clips, (*parts, shown))
        owners = np.repeat(np.arange(len(features.counts)), features.counts)
    if probe.standardises:
        rows = standardise(rows, features.of_clips(parts[0]))
    blank = np.ones(len(labels), dtype=np.bool_)
    blank[open_] = False
    labels[blank] = -1 if labels.ndim == 1 else False
    return Lesson(
        rows,
        labels,
        len(task.classes),
        known,
        valid,
        asked,
        seed,
        bounds,
        CHOICE[task.kind],
        features.heard,
        owners,
    )


def _labels(features: Features, task: Task) -> Labels:
    """Returns the labels of each clip, or of each moment where events tell when; a copy."""
    if task.kind != "events":
        return task.labels.copy()
    labels = np.zeros((len(features.rows), len(task.classes)), dtype=np.bool_)
    first = np.cumsum(features.counts) - features.counts
    for clip, events in enumerate(task.events):
        for event in events:
            start, stop = (round(edge / features.seconds) for edge in (event.start, event.stop))
            stop = min(max(stop, start + 1), int(features.counts[clip]))
            labels[first[clip] + start : first[clip] + stop, task.classes.index(event.name)] = True
    return labels


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
