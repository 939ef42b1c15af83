"""Defines the score files of a run: what a probe measured on one task."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ablate.core.records.record import Item, Record


@dataclass(frozen=True, kw_only=True)
class PoolingScore(Item):
    """Scores of one pooling in percent, higher is better."""

    valid: float | None = None
    test: float | None = None  # mean over folds and seeds
    folds: list[float] = field(default_factory=list)  # test score of each fold
    seeds: list[float] = field(default_factory=list)  # test score of each seed of the probe
    metric: str = "accuracy"  # the metric of `valid` and `test`
    metrics: dict[str, float] = field(default_factory=dict)  # every metric on test clips


@dataclass(frozen=True, kw_only=True)
class ScoreFile(Record):
    """`probes/<task>/<key>.json`: the scores of one probe on one task, by pooling."""

    REMEDY: ClassVar[str] = (
        "scores of ablate 0.1 cannot be read: delete the run folder, or set ABLATE_RUNS to a new "
        "folder, and run the study again"
    )
    HAS_CHECKSUM: ClassVar[bool] = True

    task: str
    key: str  # hash of `settings`; the name of the file
    settings: dict[str, Any]  # settings of the probe, with every default written out
    scores: dict[str, PoolingScore]
    precision: str = "fp32"  # in which the features were computed


@dataclass(frozen=True, kw_only=True)
class TaskList(Record):
    """`probes/tasks.json`: tasks of the run's own clips, written before the first is scored."""

    REMEDY: ClassVar[str] = ScoreFile.REMEDY
    HAS_CHECKSUM: ClassVar[bool] = True

    tasks: list[str]
