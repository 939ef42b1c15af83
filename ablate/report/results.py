"""Run folders become numbers here: a row a trial, and a row a trial, task, probe and pooling.

A trial that failed or has not run stays a row with its state and its reason. No number is
ever filled in for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd

from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.design.trials import variant_of
from ablate.report.run import RunResult, keep_finite_numbers, read_run
from ablate.runs.scores import STATISTICS_POOLING, mean_over_tasks

RESERVED = ("variant", "seed", "kind", "fingerprint", "task", "probe", "pooling", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One configuration and one seed, with what became of it and of its two references."""

    levels: Mapping[str, str]  # factor -> label
    seed: int
    fingerprint: str
    plan: TrialEntry
    probe_key: tuple[str, str]  # probe and pooling of the score
    run: RunResult
    random_init: RunResult  # the same encoder before training
    mel_statistics: RunResult  # mean and deviation of the log-mel bands, without an encoder
    score: float | None  # percent, on test data; None unless every task has one
    random_init_score: float | None
    mel_statistics_score: float | None
    state: str  # the run's, or "unscored" when it is done but a score is missing
    reason: str | None

    @property
    def gain(self) -> float | None:
        """Returns the points by which the score is above that of the trial's random init."""
        if self.score is None or self.random_init_score is None:
            return None
        return self.score - self.random_init_score

    @property
    def failed(self) -> bool:
        """Says whether the run failed; one that was pruned, cancelled or preempted has not."""
        return self.state == "failed"

    @property
    def collapsed(self) -> bool:
        """Says whether the run recorded a collapse. Its score, if any, counts all the same."""
        return self.run.record.collapsed

    @property
    def metrics(self) -> Mapping[str, float]:
        """Returns the health that the run recorded last; what is not finite is left out."""
        return keep_finite_numbers(self.run.record.metrics)

    @property
    def cost(self) -> Mapping[str, float]:
        """Returns what the run took: steps, clips, hours of audio, tokens, FLOPs, seconds, MB."""
        return keep_finite_numbers(self.run.record.cost)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A study's plan with all that its run folders hold today."""

    plan: StudyPlan
    trials: tuple[TrialResult, ...]
    confirmation_trials: tuple[TrialResult, ...] = ()  # of chosen variants, on fresh seeds

    @property
    def factors(self) -> tuple[str, ...]:
        """Returns the names of the factors, in the study's order."""
        return tuple(self.plan.factors)

    def variants(self) -> dict[tuple[str, ...], list[TrialResult]]:
        """Groups the trials by their levels, both in the plan's order."""
        grouped: dict[tuple[str, ...], list[TrialResult]] = {}
        for trial in self.trials:
            grouped.setdefault(get_levels(trial, self.factors), []).append(trial)
        return grouped

    def scores(self) -> pd.DataFrame:
        """Returns a row a trial, kind (jepa, random_init, mel_statistics), task, probe, pooling."""
        rows = [row for trial in self.trials for row in _score_rows(trial, self.factors)]
        columns = [get_factor_column(factor) for factor in self.factors]
        first, rest = list(RESERVED[:1]), list(RESERVED[1:])
        return pd.DataFrame(rows, columns=[*first, *columns, *rest])

    def frame(self) -> pd.DataFrame:
        """Returns a row a trial: levels, seed, state, score, gain, health and cost."""
        return pd.DataFrame([_trial_row(trial, self.factors) for trial in self.trials])


def read_results(plan: StudyPlan, runs: Path) -> Results:
    """Reads what the run folders of a planned study hold. A folder that is not there is fine.

    A planned trial that says `confirms` enters no mean but that of its confirmation. Raises
    `ValueError` for a file that is not JSON.
    """

    @cache
    def run_of(fingerprint: str | None) -> RunResult:
        return read_run(runs / fingerprint if fingerprint else None, plan.probes)

    trials: dict[bool, list[TrialResult]] = {False: [], True: []}
    for planned in plan.trials:
        found = [
            run_of(key) for key in (planned.fingerprint, planned.random_init, planned.statistics)
        ]
        trials[planned.confirms].append(_build_trial_result(plan, planned, *found))
    return Results(plan=plan, trials=tuple(trials[False]), confirmation_trials=tuple(trials[True]))


def compute_mean_score(
    plan: StudyPlan,
    planned: TrialEntry,
    run: RunResult,
    asked: tuple[str, str],
    *,
    split: Literal["test", "valid"] = "test",
) -> tuple[float | None, list[str]]:
    """Returns the mean over tasks, None where one lacks a score, and the tasks that lack one.

    In percent; `asked` is a probe and a pooling.
    """
    found = {s.task: getattr(s, split) for s in run.scores if (s.probe, s.pooling) == asked}
    tasks = _get_task_names(plan, planned, asked[0])
    lacking = sorted(task for task in tasks if found.get(task) is None)
    return mean_over_tasks(found, tasks), lacking


def get_levels(trial: TrialResult, factors: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the trial's level of each factor; a dash where a factor does not apply to it."""
    return tuple(trial.levels.get(factor, "-") for factor in factors)


def format_variant(levels: tuple[str, ...]) -> str:
    """Names a variant by its levels: `block, strips`."""
    return variant_of(levels)


def get_factor_column(factor: str) -> str:
    """Names a factor's column so that it hides no other column of the frame."""
    return f"factor {factor}" if factor in RESERVED else factor


def _build_trial_result(
    plan: StudyPlan,
    planned: TrialEntry,
    run: RunResult,
    random_init: RunResult,
    statistics: RunResult,
) -> TrialResult:
    asked = planned.probe or plan.score.probe, plan.score.pooling
    score, lacking = compute_mean_score(plan, planned, run, asked)
    state, reason = run.state, run.reason
    if state == "done":
        words = f"no {'.'.join(asked)} score on {', '.join(lacking) or 'its tasks'}"
        state, reason = ("unscored", words) if score is None else ("done", None)
    return TrialResult(
        levels=planned.levels,
        seed=planned.seed,
        fingerprint=planned.fingerprint,
        plan=planned,
        probe_key=asked,
        run=run,
        random_init=random_init,
        mel_statistics=statistics,
        score=score,
        random_init_score=compute_mean_score(plan, planned, random_init, asked)[0],
        mel_statistics_score=compute_mean_score(
            plan, planned, statistics, (asked[0], STATISTICS_POOLING)
        )[0],
        state=state,
        reason=reason,
    )


def _get_task_names(plan: StudyPlan, planned: TrialEntry, probe: str) -> set[str]:
    """Names the tasks that a probe scores a planned trial on: its own, or those of its data."""
    content = plan.probes.get(probe, {}).get("content")
    if content:
        return set(content["tasks"])
    return {task for data in plan.data if data.digest == planned.facts.data for task in data.tasks}


def _score_rows(trial: TrialResult, factors: tuple[str, ...]) -> Iterator[dict[str, object]]:
    levels = get_levels(trial, factors)
    kinds = {
        "jepa": trial.run,
        "random_init": trial.random_init,
        "mel_statistics": trial.mel_statistics,
    }
    fingerprints = {
        "jepa": trial.fingerprint,
        "random_init": trial.plan.random_init,
        "mel_statistics": trial.plan.statistics,
    }
    for kind, run in kinds.items():
        for score in run.scores:
            yield {
                "variant": format_variant(levels),
                **dict(zip(map(get_factor_column, factors), levels, strict=True)),
                "seed": trial.seed,
                "kind": kind,
                "fingerprint": fingerprints[kind],
                **{name: value for name, value in vars(score).items() if name in RESERVED},
            }


def _trial_row(trial: TrialResult, factors: tuple[str, ...]) -> dict[str, object]:
    levels = get_levels(trial, factors)
    return {
        "variant": format_variant(levels),
        **dict(zip(map(get_factor_column, factors), levels, strict=True)),
        "seed": trial.seed,
        "fingerprint": trial.fingerprint,
        "state": trial.state,
        "reason": trial.reason,
        "score": trial.score,
        "random_init_score": trial.random_init_score,
        "mel_statistics_score": trial.mel_statistics_score,
        "gain": trial.gain,
        "collapsed": trial.collapsed,
        "code": trial.run.code,
        **trial.metrics,
        **trial.cost,
    }
