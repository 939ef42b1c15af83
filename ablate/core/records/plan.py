"""The plan of a study: the content of `plan.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from ablate.core.records.record import Item, Record
from ablate.core.records.run import ParameterCounts
from ablate.core.seeds import DESCRIPTIONS

Settings = dict[str, Any]  # the settings of one part or trial, as in the study's YAML
FILE_NAME = "plan.json"


@dataclass(frozen=True, kw_only=True)
class ScoreView(Item):
    """A score that a probe gives: its name in the study, and the pooling of the features."""

    probe: str
    pooling: str


@dataclass(frozen=True, kw_only=True)
class EvaluatePlan(Item):
    """How encoders are scored while they are trained."""

    every: int  # training steps between two scores
    clips: int  # upper limit per task, for training the probe and for validation alike
    probe: str
    pooling: str


def read_evaluate(content: Mapping[str, Any] | None) -> EvaluatePlan | None:
    """Reads an `EvaluatePlan` from plain data, as `dataclasses.asdict` writes it."""
    return None if content is None else EvaluatePlan(**content)


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Item):
    """How the report decides."""

    equivalence_margin: float  # percentage points
    alpha: float


@dataclass(frozen=True, kw_only=True)
class TaskSummary(Item):
    """The number of classes and clips of one task."""

    classes: int  # 0 for a task of numbers
    train: int | None = None  # clips per part; None for a part that the task lacks
    valid: int | None = None
    test: int | None = None
    folds: int | None = None  # None without cross-validation
    domain: str | None = None  # domain and weight are those of the X-ARES benchmark
    weight: int | None = None
    knn: bool = True  # whether the official total of kNN scores counts the task


@dataclass(frozen=True, kw_only=True)
class MissingTask(Item):
    """A public task of the X-ARES benchmark that a data source lacks."""

    task: str
    reason: str
    domain: str
    weight: int


@dataclass(frozen=True, kw_only=True)
class DataSummary(Item):
    """The clips of one data source."""

    digest: str  # hash of the content
    synthetic: bool
    clips: int
    pretraining_clips: int  # 0 for clips that are only probed
    skipped: tuple[tuple[str, str], ...] = ()  # path and reason
    silent: tuple[str, ...] = ()  # paths
    cancelled: tuple[str, ...] = ()  # paths of clips whose channels cancel out when mixed
    notes: tuple[str, ...] = ()  # what else was found in the clips, in sentences
    tasks: dict[str, TaskSummary]
    missing: tuple[MissingTask, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TokenStats(Item):
    """What one token covers, and how much of it the next token covers too."""

    seconds_per_token: float
    tokens_per_second: float
    leak_seconds: float  # audio that enters a patch and the next one
    window_leak: float  # share of a patch's last analysis window that lies in the next patch
    freq_overlap: float  # share of a patch's bands that the next patch has too
    time_overlap: float  # share of a patch's frames that the next patch has too
    dropped: tuple[int, int]  # bands and frames at the end that belong to no patch
    messages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MatchedSetting(Item):
    """A masker setting that was computed so that a share of the grid is met."""

    setting: str  # dotted path within the masker
    value: Any
    share: str  # context or targets
    wanted: float  # share of the grid, 0 to 1
    reached: float


@dataclass(frozen=True, kw_only=True)
class MatchedBudget(Item):
    """The budget of a trial that is matched to the baseline's."""

    by: str  # steps, clips or flops
    steps: int
    clips: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class TrialFacts(Item):
    """What a worker computed about a trial without training it; equal for all its seeds."""

    data: str  # digest of the data source
    too_short: int = 0  # pre-training clips with fewer than two patches
    grid: tuple[int, int]  # patches in frequency and time
    parameters: ParameterCounts
    context: float  # visible share of the grid, 0 to 1, as an average over training
    targets: float  # share of the grid that is predicted
    overlap: float = 0.0  # share of the context patches that are also targets
    forced_overlap: float = 0.0  # the part of `overlap` in masks that a fallback changed
    changed: float = 0.0  # share of the masks that a fallback changed
    tokens: TokenStats | None = None
    matched: tuple[MatchedSetting, ...] = ()
    budget: MatchedBudget | None = None
    parts: dict[str, str] = field(default_factory=dict)  # third-party part -> digest of its code
    notes: tuple[str, ...] = ()  # clips that do not fit its window or bands, in sentences


@dataclass(frozen=True, kw_only=True)
class TrialEntry(Item):
    """One trial of a plan: a configuration and a seed."""

    levels: dict[str, str]  # factor -> label, without factors that have no effect here
    seed: int
    fingerprint: str
    settings: Settings  # with every default written out
    random_init: str  # fingerprint of the same encoder without training
    further_inits: tuple[str, ...] = ()  # fingerprints of that encoder from other seeds
    statistics: str  # fingerprint of the log-mel statistics of the same data
    facts: TrialFacts
    probe: str | None = None  # the probe that scores it, if the study varies the probe
    confirms: bool = False  # trained on a fresh seed to confirm a leading variant
    crosses: bool = False  # shares a varied seed with another trial, so it enters no verdict


@dataclass(frozen=True, kw_only=True)
class SeedPurposes(Item):
    """Which purposes have seeds that vary over the trials of a variant, and which are held."""

    varied: tuple[str, ...]
    held: tuple[str, ...]
    crossed: bool = False  # whether every combination of the varied seeds is trained

    @property
    def scope(self) -> str:
        """What verdicts concern: `over new initial weights only; held: masks`; empty for all."""
        if not self.held:
            return ""
        varied, held = (
            ", ".join(DESCRIPTIONS[purpose] for purpose in purposes)
            for purposes in (self.varied, self.held)
        )
        return f"over new {varied} only; held: {held}"


@dataclass(frozen=True, kw_only=True)
class MergedFactors(Item):
    """Factors that have no effect in some combinations of the other factors."""

    factors: tuple[str, ...]
    where: dict[str, str]  # factor -> label of these combinations
    num_kept: int  # combinations that are left, per seed
    num_combinations: int  # combinations of the design that they replace


@dataclass(frozen=True, kw_only=True)
class RecordedLooks(Item):
    """The declared looks at a study whose seeds are added in rounds."""

    seed_counts: tuple[int, ...]  # seeds at each look so far, the present one last
    max_seeds: int


@dataclass(frozen=True, kw_only=True)
class Look(Item):
    """One report of a study: with how many seeds, and how many were declared at that time."""

    num_seeds: int
    max_seeds: int | None = None  # None for a fixed number of seeds


@dataclass(frozen=True, kw_only=True)
class MaskPicture(Item):
    """One picture of the mask gallery."""

    masker: str
    patchifier: str
    file: str  # relative to the gallery's folder
    context: float  # visible share of the grid, 0 to 1
    targets: float


@dataclass(frozen=True, kw_only=True)
class MaskGallery(Item):
    """The mask pictures of a report."""

    folder: str  # relative to the report's folder
    title: str  # the clip in the pictures
    pictures: tuple[MaskPicture, ...]


@dataclass(frozen=True, kw_only=True)
class GalleryFile(Record):
    """The file beside the mask pictures; they are drawn again when a trial changes."""

    REMEDY: ClassVar[str] = "delete it; the pictures are then drawn again"

    trials: dict[str, str]  # masker--patchifier -> fingerprint of the trial in the picture
    gallery: MaskGallery


@dataclass(frozen=True, kw_only=True)
class SweepResult(Item):
    """The best point that a sweep found for one combination of levels."""

    levels: dict[str, str]
    search: str  # name of the Optuna study
    params: dict[str, Any]
    valid: float | None  # validation score in percent
    points: int
    pruned: int
    failed: int
    fidelity: dict[str, tuple[float, int]]  # rung -> rank correlation with the end, and points
    runs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyPlan(Record):
    """What a study trains and how it is judged; the content of `reports/STUDY/plan.json`."""

    REMEDY: ClassVar[str] = "run the study again, or `ablate report FILE`; finished runs are kept"
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    study: str
    title: str
    description: str = ""  # the lines after the title
    text: str  # the study file
    file: str  # path of the study file
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...]
    separate_seeds: SeedPurposes | None = None  # None: one seed is that of all purposes
    design: str = "grid"
    match_budget: str | None = None
    factors: dict[str, tuple[str, ...]]  # factor -> labels
    baseline: dict[str, str]  # factor -> label
    merged: tuple[MergedFactors, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()  # variants with one fingerprint
    score: ScoreView
    evaluate: EvaluatePlan | None = None
    report: ReportSettings
    notes: dict[str, str] = field(default_factory=dict)  # label -> explanation
    probes: dict[str, Settings]  # with every default written out
    data: tuple[DataSummary, ...]
    warnings: tuple[str, ...] = ()
    trials: tuple[TrialEntry, ...]
    looks: RecordedLooks | None = None  # None for a fixed number of seeds
    uncorrected: tuple[Look, ...] = ()  # looks that no p-value corrects for
    added: tuple[str, ...] = ()  # variants that were added after a look at the others
    gallery: MaskGallery | None = None
    sweep: tuple[SweepResult, ...] = ()

    @property
    def score_protocol(self) -> Settings:
        """Returns the settings of the probe that gives the study's score."""
        return self.probes[self.score.probe]

    def file_in(self, reports: Path) -> Path:
        """Returns the path of this plan's file in the folder of all reports."""
        return get_plan_file(reports, self.study)


def get_plan_file(reports: Path, study: str) -> Path:
    """Returns the path of a study's `plan.json` in the folder of all reports."""
    return reports / study / FILE_NAME
