"""Builds study plans and their parts for tests; every field can be replaced."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ablate.core.records.plan import (
    DataSummary,
    ReportSettings,
    ScoreView,
    StudyPlan,
    TaskSummary,
    TokenStats,
    TrialEntry,
    TrialFacts,
)
from ablate.core.records.planning import ResolvedRun, ResolvedTrial, TrialReply
from ablate.core.records.run import ParameterCounts

COUNTS = TaskSummary(classes=10, train=600, valid=200, test=400)


def make_facts(**changes: Any) -> TrialFacts:
    """Builds the facts of a trial on the data `9f86d081`."""
    fields: dict[str, Any] = {
        "data": "9f86d081",
        "grid": (4, 8),
        "context": 0.4,
        "targets": 0.5,
        "parameters": ParameterCounts(encoder=102_400, predictor=51_200),
    }
    return TrialFacts(**fields | changes)


def make_token_stats(messages: tuple[str, ...]) -> TokenStats:
    """Builds token statistics; only the messages matter."""
    return TokenStats(
        seconds_per_token=0.16,
        tokens_per_second=25.0,
        leak_seconds=0.0,
        window_leak=0.0,
        freq_overlap=0.0,
        time_overlap=0.0,
        dropped=(0, 0),
        messages=messages,
    )


def make_entry(fingerprint: str, **changes: Any) -> TrialEntry:
    """Builds one trial of a plan."""
    fields: dict[str, Any] = {
        "levels": {},
        "seed": 0,
        "fingerprint": fingerprint,
        "settings": {},
        "random_init": "t",
        "statistics": "s",
        "facts": make_facts(),
    }
    return TrialEntry(**fields | changes)


def make_reply(fingerprint: str, settings: dict[str, Any], **facts: Any) -> TrialReply:
    """Builds a worker's reply about a valid trial."""
    resolved = ResolvedTrial(
        kind="jepa",
        settings=settings,
        fingerprint=fingerprint,
        random_init=ResolvedRun(kind="random_init", settings={}, fingerprint="t"),
        statistics=ResolvedRun(kind="mel_statistics", settings={}, fingerprint="s"),
        facts=make_facts(**facts),
    )
    return TrialReply(trial=resolved)


def make_data(**changes: Any) -> DataSummary:
    """Builds the summary of a data source with one task, `speech`."""
    fields: dict[str, Any] = {
        "digest": "9f86d081",
        "synthetic": False,
        "clips": 3600,
        "pretraining_clips": 3600,
        "tasks": {"speech": COUNTS},
    }
    return DataSummary(**fields | changes)


def make_plan(*trials: TrialEntry, **changes: Any) -> StudyPlan:
    """Builds the plan of a study `masking` with one factor, `masker`."""
    fields: dict[str, Any] = {
        "study": "masking",
        "title": "",
        "text": "",
        "file": "masking.yaml",
        "seeds": tuple(dict.fromkeys(trial.seed for trial in trials)),
        "factors": {"masker": ("random", "block")},
        "baseline": {"masker": "random"},
        "score": ScoreView(probe="knn", pooling="mean"),
        "report": ReportSettings(equivalence_margin=2.0, alpha=0.05),
        "probes": {"knn": {"type": "ablate.probing.knn.KNN", "k": 10}},
        "data": (make_data(),),
        "trials": trials,
    }
    return StudyPlan(**fields | changes)


def change_trials(plan: StudyPlan, change: Callable[[TrialEntry], TrialEntry | None]) -> StudyPlan:
    """Changes every trial of a plan; None removes it."""
    trials = tuple(changed for trial in plan.trials if (changed := change(trial)) is not None)
    return replace(plan, trials=trials)


def change_facts(trial: TrialEntry, **changes: Any) -> TrialEntry:
    """Changes the facts of a trial."""
    return replace(trial, facts=replace(trial.facts, **changes))


def change_data(plan: StudyPlan, **changes: Any) -> StudyPlan:
    """Changes the first data source of a plan."""
    first, *rest = plan.data
    return replace(plan, data=(replace(first, **changes), *rest))
