"""How a worker is asked to validate the trials of a study, and what it replies."""

from dataclasses import dataclass, field

from ablate.core.records.plan import DataSummary, EvaluatePlan, ScoreView, Settings, TrialFacts
from ablate.core.records.protocol import Reply, Request
from ablate.core.records.record import Item
from ablate.core.records.run import RunKind


@dataclass(frozen=True, kw_only=True)
class SettingProblem(Item):
    """One thing that is wrong with a setting."""

    path: tuple[str, ...]  # keys that lead to the setting; empty for the settings as a whole
    message: str

    def __str__(self) -> str:
        return f"`{'.'.join(self.path)}`: {self.message}" if self.path else self.message


@dataclass(frozen=True, kw_only=True)
class BudgetMatch(Item):
    """A request to give every trial as much as a baseline gets."""

    by: str  # steps, clips or flops
    baseline: Settings


@dataclass(frozen=True, kw_only=True)
class ResolvedRun(Item):
    """A run with every default written out, and the name of its folder."""

    kind: RunKind
    settings: Settings
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class FurtherInit(Item):
    """A random-init encoder of a trial with another seed than the trial's own."""

    seed: int
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ResolvedTrial(Item):
    """A valid trial: its settings with every default, its references, and its facts."""

    kind: RunKind
    settings: Settings
    fingerprint: str
    random_init: ResolvedRun
    further_inits: tuple[FurtherInit, ...] = ()
    statistics: ResolvedRun
    facts: TrialFacts


@dataclass(frozen=True, kw_only=True)
class TrialReply(Item):
    """A worker's reply about one trial."""

    trial: ResolvedTrial | None = None  # None if anything is wrong, or audio was not opened
    problems: tuple[SettingProblem, ...] = ()
    dropped: tuple[tuple[str, ...], ...] = ()  # the optional settings that the trial's parts lack


@dataclass(frozen=True, kw_only=True)
class PlanReply(Reply):
    """A worker's reply to a `PlanRequest`."""

    trials: tuple[TrialReply, ...] = ()
    data: tuple[DataSummary, ...] = ()
    probes: dict[str, Settings] = field(default_factory=dict)  # with every default written out
    # problems of what all trials share; `trials` is then empty
    problems: tuple[SettingProblem, ...] = ()

    @property
    def all_problems(self) -> tuple[SettingProblem, ...]:
        """Returns the shared problems, then those of each trial."""
        return (*self.problems, *(problem for trial in self.trials for problem in trial.problems))

    def get_resolved(self) -> list[ResolvedTrial]:
        """Returns the trials of a reply without problems."""
        resolved = [reply.trial for reply in self.trials if reply.trial is not None]
        assert len(resolved) == len(self.trials), "some trials have problems"
        return resolved


@dataclass(frozen=True, kw_only=True)
class PlanRequest(Request[PlanReply]):
    """Asks a worker to validate trials, open their audio and resolve their settings."""

    trials: tuple[Settings, ...]
    optional: tuple[tuple[tuple[str, ...], ...], ...] = ()  # per trial: settings to drop if unknown
    probes: dict[str, Settings] = field(default_factory=dict)
    scores: tuple[ScoreView, ...] = ()  # that the study needs
    chooses_by: tuple[str, ...] = ()  # sections of the study that choose by its validation scores
    evaluate: EvaluatePlan | None = None
    match_budget: BudgetMatch | None = None
    random_inits: int = 1  # untrained encoders per trial, if those of the trials differ
    open_audio: bool = True  # if False, only problems are reported
