"""Collects the results of a study from its run folders, by trial and as data frames.

A trial that failed or has not run keeps its row, with its state and reason. Missing numbers are
never filled in.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pandas as pd

from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.design.trials import join_labels
from ablate.report.mean_scores import (
    compute_mean_score,
    compute_random_init_score,
    compute_untrained_scores,
)
from ablate.report.run import RunResult, keep_finite_numbers, read_run
from ablate.runs.scores import get_statistics_pooling

PENDING_STATES = ("missing", "planned", "running", "stale", "preempted")
RESERVED = ("variant", "seed", "kind", "fingerprint", "task", "probe", "pooling", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One configuration and one seed: its run, its two reference runs, and its scores."""

    levels: Mapping[str, str]  # factor -> level
    seed: int
    fingerprint: str
    plan: TrialEntry
    probe_key: tuple[str, str]  # probe and pooling of the score
    run: RunResult
    random_init: RunResult  # the same encoder before training
    # untrained encoders of other seeds, if all of the study have been scored
    further_inits: tuple[RunResult, ...] = ()
    mel_statistics: RunResult  # statistics of the log-mel bands, without an encoder
    score: float | None  # mean over tasks on test clips, percent; None if a task has none
    random_init_score: float | None  # mean over `random_inits`
    mel_statistics_score: float | None  # pooled as the encoder is
    # what needs no training, by the same probe: random init and every pooling of log-mels
    untrained_scores: Mapping[str, float]
    state: str  # the run's, or "unscored" when it is done but a score is missing
    reason: str | None

    @property
    def random_inits(self) -> tuple[RunResult, ...]:
        """The untrained encoders whose mean score a gain subtracts; that of the seed first."""
        return (self.random_init, *self.further_inits)

    @property
    def gain(self) -> float | None:
        """The score minus the score at random init, in points."""
        if self.score is None or self.random_init_score is None:
            return None
        return self.score - self.random_init_score

    @property
    def failed(self) -> bool:
        """Whether the run failed; pruned, cancelled and preempted runs did not."""
        return self.state == "failed"

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to the run by itself; it may have no score."""
        return self.state not in PENDING_STATES

    @property
    def collapsed(self) -> bool:
        """Whether the run recorded a collapse; its score, if any, still counts."""
        return self.run.record.collapsed

    @cached_property
    def metrics(self) -> Mapping[str, float]:
        """The last recorded training metrics, without values that are not finite."""
        return keep_finite_numbers(self.run.record.metrics)

    @cached_property
    def cost(self) -> Mapping[str, float]:
        """The cost of the run: steps, clips, hours of audio, tokens, FLOPs, seconds, MB."""
        return keep_finite_numbers(self.run.record.cost)


@dataclass(frozen=True, kw_only=True)
class Results:
    """The plan of a study and the current results of its trials."""

    plan: StudyPlan
    trials: tuple[TrialResult, ...]
    confirmation_trials: tuple[TrialResult, ...] = ()  # selected variants, fresh seeds
    crossing_trials: tuple[TrialResult, ...] = ()  # share a varied seed with another trial

    @property
    def all_trials(self) -> tuple[TrialResult, ...]:
        """Every trial that was planned; those that enter no verdict of the study come last."""
        return (*self.trials, *self.confirmation_trials, *self.crossing_trials)

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, in the order of the study."""
        return tuple(self.plan.factors)

    @property
    def num_random_inits(self) -> int:
        """The number of untrained encoders whose mean score the gain of a trial subtracts."""
        return max((len(trial.random_inits) for trial in self.trials), default=1)

    def variants(self) -> Mapping[tuple[str, ...], list[TrialResult]]:
        """Groups the trials by their levels, in the order of the plan."""
        return self._variants

    @cached_property
    def _variants(self) -> dict[tuple[str, ...], list[TrialResult]]:
        grouped: dict[tuple[str, ...], list[TrialResult]] = {}
        for trial in self.trials:
            grouped.setdefault(get_levels(trial, self.factors), []).append(trial)
        return grouped

    def scores(self) -> pd.DataFrame:
        """Returns one row per trial, kind of run, task, probe and pooling.

        The kind is jepa, random_init (several, if gains subtract the mean of some) or
        mel_statistics; or confirmation or crossing, a trained encoder that no main verdict uses.
        Scores `valid` and `test` are in percent.
        """
        rows = [row for trial in self.all_trials for row in _list_score_rows(trial, self.factors)]
        columns = [get_factor_column(factor) for factor in self.factors]
        first, rest = list(RESERVED[:1]), list(RESERVED[1:])
        return pd.DataFrame(rows, columns=[*first, *columns, *rest])

    def frame(self) -> pd.DataFrame:
        """Returns one row per trial: levels, seed, state, score, gain, metrics and cost."""
        return pd.DataFrame([_build_trial_row(trial, self.factors) for trial in self.trials])


def read_results(plan: StudyPlan, runs: Path) -> Results:
    """Reads the results of a planned study.

    Args:
        plan: The plan of the study. A trial with `confirms` is used for the confirmation only, and
            one that `crosses` for the components of the variance over seeds only.
        runs: Folder of the run folders; missing run folders are allowed.

    Raises:
        ValueError: If a file is not JSON, or of another format.
    """

    @cache
    def read(fingerprint: str | None) -> RunResult:
        return read_run(runs / fingerprint if fingerprint else None, plan.probes)

    further = _read_further_inits(plan, read)
    trials: list[TrialResult] = []
    for planned in plan.trials:
        random_inits = read(planned.random_init), *further.get(planned.fingerprint, ())
        trained, statistics = read(planned.fingerprint), read(planned.statistics)
        result = _build_trial_result(plan, planned, trained, random_inits, statistics)
        trials.append(result)
    return Results(
        plan=plan,
        trials=tuple(t for t in trials if not t.plan.confirms and not t.plan.crosses),
        confirmation_trials=tuple(t for t in trials if t.plan.confirms),
        crossing_trials=tuple(t for t in trials if t.plan.crosses),
    )


def get_levels(trial: TrialResult, factors: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the trial's level of each factor; `-` for a factor that does not apply to it."""
    return tuple(trial.levels.get(factor, "-") for factor in factors)


def format_variant(levels: tuple[str, ...]) -> str:
    """Formats a variant by its levels: `block, strips`."""
    return join_labels(levels)


def get_factor_column(factor: str) -> str:
    """Returns the column name of a factor in data frames, prefixed if another column has it."""
    return f"factor {factor}" if factor in RESERVED else factor


def _read_further_inits(
    plan: StudyPlan, read: Callable[[str], RunResult]
) -> dict[str, tuple[RunResult, ...]]:
    """Reads the further untrained encoders of every trial, by the fingerprint of the trial.

    Those of a study, or of its confirmation, are used only if all have been scored: else gains of
    some trials would have more noise than those of others.
    """
    further: dict[str, tuple[RunResult, ...]] = {}
    for confirms in (False, True):
        trials = [planned for planned in plan.trials if planned.confirms == confirms]
        inits = [tuple(map(read, planned.further_inits)) for planned in trials]
        keys = [_get_probe_key(plan, planned) for planned in trials]
        scores = [
            compute_random_init_score(plan, planned, runs, key) if runs else None
            for planned, runs, key in zip(trials, inits, keys, strict=True)
        ]
        if None not in scores:
            names = [planned.fingerprint for planned in trials]
            further |= dict(zip(names, inits, strict=True))
    return further


def _get_probe_key(plan: StudyPlan, planned: TrialEntry) -> tuple[str, str]:
    return planned.probe or plan.score.probe, plan.score.pooling


def _build_trial_result(
    plan: StudyPlan,
    planned: TrialEntry,
    run: RunResult,
    random_inits: tuple[RunResult, ...],
    mel_statistics: RunResult,
) -> TrialResult:
    probe_key = _get_probe_key(plan, planned)
    score, missing = compute_mean_score(plan, planned, run, probe_key)
    state, reason = run.state, run.reason
    if state == "done":
        problem = f"no {'.'.join(probe_key)} score on {', '.join(missing) or 'its tasks'}"
        state, reason = ("unscored", problem) if score is None else ("done", None)
    return TrialResult(
        levels=planned.levels,
        seed=planned.seed,
        fingerprint=planned.fingerprint,
        plan=planned,
        probe_key=probe_key,
        run=run,
        random_init=random_inits[0],
        further_inits=random_inits[1:],
        mel_statistics=mel_statistics,
        score=score,
        random_init_score=compute_random_init_score(plan, planned, random_inits, probe_key),
        mel_statistics_score=compute_mean_score(
            plan, planned, mel_statistics, (probe_key[0], get_statistics_pooling(probe_key[1]))
        )[0],
        untrained_scores=compute_untrained_scores(
            plan, planned, random_inits, mel_statistics, probe_key
        ),
        state=state,
        reason=reason,
    )


def _list_score_rows(trial: TrialResult, factors: tuple[str, ...]) -> Iterator[dict[str, object]]:
    levels = get_levels(trial, factors)
    inits = (trial.plan.random_init, *trial.plan.further_inits)
    further = "confirmation" if trial.plan.confirms else "crossing" if trial.plan.crosses else None
    runs = [
        (further or "jepa", trial.fingerprint, trial.run),
        *(("random_init", *init) for init in zip(inits, trial.random_inits, strict=False)),
        ("mel_statistics", trial.plan.statistics, trial.mel_statistics),
    ]
    for kind, fingerprint, run in runs[:1] if further else runs:
        for score in run.scores:
            yield {
                "variant": format_variant(levels),
                **dict(zip(map(get_factor_column, factors), levels, strict=True)),
                "seed": trial.seed,
                "kind": kind,
                "fingerprint": fingerprint,
                **{name: value for name, value in vars(score).items() if name in RESERVED},
            }


def _build_trial_row(trial: TrialResult, factors: tuple[str, ...]) -> dict[str, object]:
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
