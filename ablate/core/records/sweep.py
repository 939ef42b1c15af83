"""Defines the files of a sweep: what was tried, and its time limit on a cluster."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from ablate.core.records.record import Record


@dataclass(frozen=True, kw_only=True)
class SweepPoint(Record):
    """`sweep_points/<key>.json` in each run of a point, to rebuild a lost Optuna storage from."""

    REMEDY: ClassVar[str] = (
        "runs of ablate 0.1 cannot be read: delete the run folder, or set ABLATE_RUNS to a new "
        "folder, and run the study again"
    )
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    search: str  # name of the Optuna study
    number: int  # number of the point in the search
    params: dict[str, Any]
    distributions: dict[str, str]  # parameter -> Optuna's JSON
    runs: list[str]  # fingerprints, one per seed
    rungs: dict[str, float] = field(default_factory=dict)  # percent of the steps -> score there
    by_seed: dict[str, float] = field(default_factory=dict)  # index of a seed -> its score
    pruned: str | None = None  # the reason, if it was pruned

    def list_scores(self) -> dict[str, Any]:
        """Returns the scores that a pruner saw, by `rungs` and `by_seed`, and why it pruned."""
        scores = {"rungs": self.rungs, "by_seed": self.by_seed, "pruned": self.pruned}
        return {key: value for key, value in scores.items() if value}


@dataclass(frozen=True, kw_only=True)
class SweepLimit(Record):
    """`time_limit.json`: when the time of a sweep on a cluster is over."""

    REMEDY: ClassVar[str] = "delete it; the sweep's time then starts again"
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    searches: list[str]
    points: int
    minutes: float
    ends: float  # seconds since 1970
