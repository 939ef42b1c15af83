"""Defines `findings.json`: the results of a study, as written next to its report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ablate.core.io import DamagedFileError, find_json
from ablate.core.records.record import Record

FINDINGS_FILE = "findings.json"


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """The clips of one data source."""

    clips: int
    pretraining_clips: int | None
    synthetic: bool | None
    tasks: list[str]


@dataclass(frozen=True, kw_only=True)
class VerdictFinding:
    """The verdict on one contrast; differences are in points."""

    family: str  # pooled, within, learning, untrained or confirmation
    factor: str  # empty if whole variants are compared
    level: str
    against: str
    where: str  # levels of the other factors, "pooled over <factors>", "fresh seeds" or "all"
    measure: str  # score or gain
    n: int  # seeds with a score in both arms
    planned: int  # planned seeds
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    interval_alpha: float  # error level of the interval
    sd: float | None  # standard deviation of the differences over seeds
    effect_size: float | None  # Hedges' g
    p: float | None  # uncorrected
    p_holm: float | None
    p_equivalent_holm: float | None
    p_interaction: float | None
    seed_correlation: float | None
    detectable: float | None  # smallest difference detected with 80 % power
    verdict: str
    verdict_without_failures: str  # the word if interactions and failed trials are ignored
    look: int | None  # number of seeds at the deciding look; None if seeds are fixed
    notes: str
    residual_levels: int | None = None  # levels whose residuals give the error; 2: Student's t
    other_clips: float | None = None  # how far another draw of test clips could move it


@dataclass(frozen=True, kw_only=True)
class TaskContrastFinding:
    """A contrast on one task by itself, in points; uncorrected, and no part of the verdicts."""

    family: str
    factor: str
    level: str
    against: str
    where: str
    measure: str
    task: str
    n: int  # seeds with a score in both arms
    difference: float | None
    difference_low: float | None
    difference_high: float | None


@dataclass(frozen=True, kw_only=True)
class DifferenceFinding:
    """A difference in points with its interval."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class RobustnessFinding:
    """One contrast by every probe and pooling."""

    family: str
    factor: str
    level: str
    against: str
    where: str
    measure: str
    judged: bool  # whether a verdict is based on this measure
    differences: dict[str, DifferenceFinding]  # by probe and pooling, the study's own score first
    other_sign: str  # probes and poolings with the opposite sign, as text


@dataclass(frozen=True, kw_only=True)
class TaskFinding:
    """The result of one variant on one task: score in percent, differences in points."""

    score: float | None
    gain: float | None
    over_mel_statistics: float | None


@dataclass(frozen=True, kw_only=True)
class VariantFinding:
    """The result of one variant, means over seeds: score in percent, differences in points."""

    variant: str
    n: int  # seeds with a score
    planned: int  # planned seeds
    score: float | None
    gain: float | None
    over_mel_statistics: float | None
    over_mel_statistics_by: dict[str, float]  # by probe and pooling
    tasks: dict[str, TaskFinding]
    over_mel_statistics_p: float | None = None  # Holm-corrected over variants


@dataclass(frozen=True, kw_only=True)
class Findings(Record):
    """`findings.json`: what a report says in numbers. Nothing is rounded."""

    REMEDY: ClassVar[str] = (
        "write the report again from its runs: `ablate report STUDY`, then `ablate publish STUDY`"
    )

    study: str
    title: str
    answer: list[str]  # one sentence per factor
    score: str  # probe and pooling: `knn.concat_freq`
    data_summary: str
    data: list[DataFinding]
    alpha: float  # error level of the intervals
    seeds: list[int]
    num_trials: int
    num_scored: int
    baseline: str  # name of a variant
    verdicts: list[VerdictFinding]
    notes: dict[str, str]  # level -> its meaning
    robustness: list[RobustnessFinding]
    variants: list[VariantFinding]
    caveats: list[str]
    mask_warnings: list[str]
    margin: float | None = None  # points within which two levels are called equivalent
    task_contrasts: list[TaskContrastFinding] = field(default_factory=list)


def count_scored_trials(path: Path) -> int:
    """Returns the number of scored trials in findings of any format; 0 if there are none."""
    try:
        number = (find_json(path) or {}).get("num_scored", 0)
    except DamagedFileError:  # a report without it is written again
        return 0
    return number if isinstance(number, int) else 0
