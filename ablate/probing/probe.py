"""The contract of probes: the data that a probe gets, and what it must return."""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ablate.audio.annotations import LabelKind
from ablate.audio.source import AbstractSource
from ablate.parts import AS_BEFORE
from ablate.probing.features import RawClips
from ablate.probing.metrics import Metric, Scores, is_numbers, measure
from ablate.probing.tasks import Indices, Labels, Split, Task
from ablate.probing.views import PER_CLIP, TOKENS, Views

Matrix = npt.NDArray[np.float32]
CLASSES: frozenset[LabelKind] = frozenset({"single", "multi", "events"})
NUMBERS: frozenset[LabelKind] = frozenset({"numbers"})
_DEFAULT_VIEWS = {"type": "ablate.probing.views.Views"}


@dataclass(frozen=True)
class Features:
    """The features of a task's clips under one view, in the order of the task."""

    rows: Matrix  # (rows, dim), possibly memory-mapped
    counts: Indices  # (clips,), number of consecutive rows of each clip
    seconds: float = 0.0  # time between two rows of a clip, if rows are moments
    raw: RawClips | None = None  # replaces the rows for a probe with `needs_audio`
    layers: tuple[int, int] | None = None  # number and width of layers that lie side by side

    @classmethod
    def from_vectors(cls, rows: Matrix) -> "Features":
        """Wraps one vector per clip, (clips, dim)."""
        return cls(rows, np.ones(len(rows), dtype=np.int64))

    @classmethod
    def from_raw(cls, raw: RawClips) -> "Features":
        """Wraps the clips themselves, with an empty row for each."""
        empty = np.zeros((len(raw.clips), 0), dtype=np.float32)
        return cls(empty, np.ones(len(empty), dtype=np.int64), raw=raw)

    def get_rows(self, clips: Indices) -> Indices:
        """Returns the row numbers of some clips, one clip after another."""
        counts = self.counts[clips]
        before = np.cumsum(counts) - counts
        first = np.cumsum(self.counts) - self.counts
        rows: Indices = np.repeat(first[clips] - before, counts) + np.arange(counts.sum())
        return rows


@dataclass(frozen=True)
class ProbeData:
    """Features and labels with the indices to train on, to validate on, and to predict.

    An item is one row of `features`. For a probe that reads tokens, item i is the rows from
    `bounds[i]` to `bounds[i + 1]`. Labels of query items are blank (-1, False or NaN), unless the
    probe selects on the test part.

    Attributes:
        features: (rows, dim), possibly memory-mapped.
        labels: int64 (items,), bool (items, classes) for a multi-label task, or float32 (items,
            names of numbers) for a task of numbers.
        num_classes: Number of classes, or of numbers to predict.
        train: Items to train on.
        valid: Items to select by, disjoint from `train`; may be empty.
        query: Items to predict.
        seed: Seed of the probe's random numbers.
        bounds: (items + 1,), for a probe that reads tokens.
        selection_metric: The metric of `measure` by which to select on `valid`.
        raw: The clips as log-mels, for a probe with `needs_audio`.
        owners: (items,), the clip of each item; None if every item is a clip.
        layers: Number and width of the layers of a view `concat_layers`: a row is
            (pieces, layers, width), flattened, with one piece, two for `mean_std`, or one per row
            of the grid for `concat_freq`.

    Example:
        >>> import numpy as np
        >>> from ablate import ProbeData
        >>> data = ProbeData(
        ...     features=np.eye(4, dtype=np.float32),
        ...     labels=np.array([0, 1, 0, -1]),
        ...     num_classes=2,
        ...     train=np.array([0, 1]),
        ...     valid=np.array([2]),
        ...     query=np.array([3]),
        ... )
        >>> data.features[data.train].shape
        (2, 4)
    """

    features: Matrix
    labels: Labels
    num_classes: int
    train: Indices
    valid: Indices
    query: Indices
    seed: int = 0
    bounds: Indices | None = None
    selection_metric: str = "accuracy"
    raw: RawClips | None = None
    owners: Indices | None = None
    layers: tuple[int, int] | None = None

    @property
    def is_multilabel(self) -> bool:
        """Whether an item may have several classes."""
        return self.labels.ndim == 2 and not self.has_numbers

    @property
    def has_numbers(self) -> bool:
        """Whether numbers are to be predicted, not classes."""
        return is_numbers(self.labels)


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a probe's own `tasks` at planning time; a score is valid only for it."""

    digest: str  # digest of the clips, from their store
    tasks: tuple[str, ...]  # names of the tasks


class OutdatedProbeError(ValueError):
    """Raised for a probe that defines a method by its former name; shows what to change."""


@dataclass(frozen=True, kw_only=True)
class AbstractProbe(ABC):
    """Predicts labels from frozen features. Subclasses are frozen keyword-only dataclasses.

    A subclass implements `predict`; its fields are settings, and class variables declare what it
    needs and which kinds of tasks it can score. Everything else has a default.

    Args:
        views: The views of the encoder to score, each separately; see `Views`.
        tasks: Source of the clips to score on. If unset, the clips that the encoder is pre-trained
            on.
        metric: The metric that is the score, such as macro_f1; unset, that of the task. An error
            rate (eer) counts as 100 minus its percentage.
        shots: Training clips per class, drawn for each seed; unset, all.
        label_share: Share of the training clips to use, drawn for each seed; unset, all.
        content: Set when a study is planned, not by the user.
        label_procedure: Set by the probe, not by the user: how `shots` and shares are drawn.

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

    views: Views = field(default_factory=Views, metadata={AS_BEFORE: _DEFAULT_VIEWS})
    tasks: AbstractSource | None = field(default=None, metadata={AS_BEFORE: None})
    metric: Metric | None = field(default=None, metadata={AS_BEFORE: None})
    shots: int | None = field(default=None, metadata={AS_BEFORE: None})
    label_share: float | None = field(default=None, metadata={AS_BEFORE: None})
    content: Content | None = field(default=None, metadata={AS_BEFORE: None})
    # 1 (unset): `shots` and `label_share` were also drawn from the fold to select by, and lost it
    label_procedure: Literal[2] | None = field(default=None, metadata={AS_BEFORE: None})

    kinds: ClassVar[frozenset[LabelKind]] = CLASSES  # the kinds of tasks that it can score
    standardises: ClassVar[bool] = True  # whether features are standardised beforehand
    reads_tokens: ClassVar[bool] = False  # whether an item is all tokens of a clip, not a vector
    needs_audio: ClassVar[bool] = False  # whether it trains the encoder, on log-mels
    headline: ClassVar[str | None] = None  # metric of its score; None: the default of the task
    predicts: ClassVar[bool] = True  # False if `score_split` does everything, without `predict`
    selects_on_test: ClassVar[bool] = False  # whether it may select on the clips it predicts

    def __init_subclass__(cls) -> None:
        """Refuses a probe that defines `score_events`, the former name of `score_split`."""
        super().__init_subclass__()
        if "score_events" in vars(cls):
            raise OutdatedProbeError(
                f"`{cls.__module__}.{cls.__qualname__}` defines `score_events`, which is now named "
                "`score_split` and would be ignored. Replace\n\n"
                f"    def score_events{inspect.signature(vars(cls)['score_events'])}:\n\nby\n\n"
                "    def score_split(self, features, task, split, seed):"
            )

    def __post_init__(self) -> None:
        wrong = [p for p in self.views.poolings if (p == TOKENS) != self.reads_tokens]
        if wrong:
            remedy = f"it reads `{TOKENS}`" if self.reads_tokens else "`Attentive` does"
            raise ValueError(f"`views.poolings`: this probe cannot read {wrong}; {remedy}")
        if self.shots is not None and (self.shots < 1 or self.label_share is not None):
            raise ValueError("`shots` must be 1 or more, and excludes `label_share`")
        if self.label_share is not None and not 0 < self.label_share <= 1:
            raise ValueError(f"`label_share` must lie in (0, 1]; got {self.label_share}")
        draws = self.shots is not None or self.label_share is not None
        procedure = 2 if draws and self.needs_validation else None
        object.__setattr__(self, "label_procedure", procedure)  # `replace` copies it

    @property
    def num_seeds(self) -> int:
        """How many times to train it, each with its own seed; 1 for a deterministic probe."""
        return 1

    @property
    def needs_validation(self) -> bool:
        """Whether it selects on a validation part that is not trained on."""
        return False

    @property
    def is_official(self) -> bool:
        """Whether clips are cut and padded by the official protocol of X-ARES."""
        return False

    @property
    def scores_validation(self) -> bool:
        """Whether it scores validation clips, too, and not only test clips."""
        return True

    def pin_files(self) -> "AbstractProbe":
        """Returns the probe with hashes of the files that its settings name; by default, itself.

        They make a score valid only for the same content. Raises `ValueError` for a missing file.
        """
        return self

    def for_task(self, task: str) -> "AbstractProbe":
        """Returns the probe with the settings for `task`; by default, itself."""
        return self

    def can_score(self, kind: LabelKind, pooling: str) -> bool:
        """Checks whether it can score tasks of `kind` with `pooling`.

        Tasks of events need one row of features per moment.
        """
        if kind not in self.kinds:
            return False
        per_clip = self.needs_audio or self.reads_tokens or self.headline is not None
        return kind != "events" or not (per_clip or pooling in PER_CLIP)

    def check_task(self, task: Task) -> None:  # noqa: B027
        """Checks what its own settings need of a task, before anything is trained.

        Raises `ValueError` if `task` cannot be scored with them; by default nothing is checked.
        """

    @abstractmethod
    def predict(self, data: ProbeData) -> Scores:
        """Trains on `data.train` and predicts `data.query`, each item from its own features.

        Args:
            data: Features, labels and indices. All random numbers must come from `data.seed`.

        Returns:
            float32 (query items, classes), higher is more likely. For multi-label tasks these are
            probabilities, with 0.5 as the threshold; for tasks of numbers, the numbers.
        """

    def measure(self, scores: Scores, truth: Labels) -> dict[str, float]:
        """Computes its metrics, in percent, among them the headline metric.

        Args:
            scores: The result of `predict` for some clips, (clips, classes).
            truth: Their labels, (clips,) or (clips, classes).
        """
        return measure(scores, truth)

    def measure_task(self, task: str, scores: Scores, truth: Labels) -> dict[str, float]:
        """Computes the metrics of a probe on the task named `task`; by default those of `measure`.

        `scores` are predictions, (query items, classes), and `truth` their labels.
        """
        return self.measure(scores, truth)

    def score_split(
        self, features: Features, task: Task, split: Split, seed: int
    ) -> dict[str, dict[str, float]] | None:
        """Trains and scores one split of a task, for probes with a procedure of their own.

        Args:
            features: Features of the clips of the task, one row per clip, or per moment for a task
                of events.
            task: The task.
            split: Clips to train on, to select by and to score.
            seed: Seed of the initial weights and the order of clips.

        Returns:
            The metrics of each query part; None (the default) if the probe predicts each clip or
            moment by itself, with `predict`.
        """
        return None
