"""Estimates what is left of a study by training one short trial per combination of parts.

Each short trial is built, trained for a few steps, paused half-way, resumed and probed, in a
temporary folder. Variants that use the same parts differ in the FLOPs that their settings take.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config.study import StudyError
from ablate.core.nested import find_parts
from ablate.core.records.plan import Settings
from ablate.core.records.planning import BudgetMatch, PlanRequest, ResolvedTrial
from ablate.design.trials import PlannedTrial
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar, show_progress
from ablate.executors.short_trials import create_run_folder, resolve, select_by_parts, shorten
from ablate.executors.worker import InvalidRequestError
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.pending import PendingWork
from ablate.study.prepare import PreparedStudy

STEPS = 20  # length of a short trial
SECONDS_PER_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class CostEstimate:
    """What is left to run of one variant."""

    variant: str
    trials: int
    hours: float  # training and scoring, as a sum over trials
    flops: float  # training, as a sum over trials
    references: int = 0  # untrained encoders to score that no earlier variant needs
    reference_hours: float = 0.0  # scoring them, as a sum


def measure_costs(
    prepared: PreparedStudy, work: PendingWork, pool: Pool, console: Console
) -> list[CostEstimate]:
    """Runs short trials and estimates what is left to run of each variant.

    Raises `StudyError` if a short trial is invalid or fails.
    """
    left = {run.fingerprint for run in work.trainings}
    trials = {t.fingerprint: t for t in prepared.trials if t.fingerprint in left}
    variants: dict[str, list[PlannedTrial]] = {}
    for trial in trials.values():
        variants.setdefault(trial.variant, []).append(trial)
    if not variants:
        return []
    firsts = [group[0] for group in variants.values()]
    shorts = _resolve([shorten(trial.settings, STEPS) for trial in firsts], pool, console)
    flops = [short.facts.budget.flops for short in shorts if short.facts.budget is not None]
    first_with = select_by_parts(trial.settings for trial in firsts)
    chosen = [(firsts[index].variant, shorts[index]) for index in first_with.values()]
    timings = _time_short_trials(chosen, prepared.plan.probes, pool, console)
    timed = dict(zip(first_with, timings, strict=True))
    costs, unscored = [], {run.fingerprint for run in work.references}
    for trial, short_flops in zip(firsts, flops, strict=True):
        key = tuple(find_parts(trial.settings))
        ratio = short_flops / flops[first_with[key]]
        step_seconds, other_seconds = timed[key]
        count, steps = len(variants[trial.variant]), trial.settings["budget"]["steps"]
        seconds = count * (steps * step_seconds * ratio + other_seconds)
        needed = unscored & _list_random_inits(variants[trial.variant])
        unscored -= needed
        costs.append(
            CostEstimate(
                trial.variant,
                count,
                seconds / SECONDS_PER_HOUR,
                count * steps * short_flops / STEPS,
                len(needed),
                len(needed) * other_seconds / SECONDS_PER_HOUR,
            )
        )
    return costs


def _list_random_inits(trials: Sequence[PlannedTrial]) -> set[str]:
    """Lists the untrained encoders that trials are compared with."""
    resolved = [trial.get_resolved() for trial in trials]
    further = {each.fingerprint for one in resolved for each in one.further_inits}
    return {one.random_init.fingerprint for one in resolved} | further


def format_costs(costs: Sequence[CostEstimate], workers: int) -> list[str]:
    """Describes the costs of each variant and in total, divided among `workers`."""
    if not costs:
        return []
    lines = [
        f"  {cost.variant}: {cost.trials} trials, {cost.hours:.2g} hours, {cost.flops:.3g} FLOPs"
        for cost in costs
    ]
    references = sum(cost.references for cost in costs)
    reference_hours = sum(cost.reference_hours for cost in costs)
    hours = sum(cost.hours for cost in costs) + reference_hours
    flops = sum(cost.flops for cost in costs)
    if references:
        lines.append(f"  {references} untrained encoders to score: {reference_hours:.2g} hours")
    return [
        f"timed by canaries of {STEPS} steps, on this machine under its present load:",
        *lines,
        f"{sum(cost.trials for cost in costs)} trials in all: {hours:.2g} hours of training and "
        f"scoring, {hours / workers:.2g} with {workers} workers, and {flops:.3g} FLOPs",
    ]


def _resolve(shorts: list[Settings], pool: Pool, console: Console) -> list[ResolvedTrial]:
    """Has a worker resolve the short trials and count their FLOPs."""
    budget = BudgetMatch(by="steps", baseline=shorts[0])
    request = PlanRequest(trials=tuple(shorts), match_budget=budget)
    with progress_bar(console, "counting FLOPs") as on_event:
        try:
            return resolve(lambda trials: pool.plan(trials, on_event), request)
        except InvalidRequestError as error:
            raise StudyError([f"canary: {problem}" for problem in error.problems]) from error


def _time_short_trials(
    chosen: Sequence[tuple[str, ResolvedTrial]],
    probes: Mapping[str, Any],
    pool: Pool,
    console: Console,
) -> list[tuple[float, float]]:
    """Runs short trials; returns each one's seconds per step, and seconds outside of training."""
    with tempfile.TemporaryDirectory(prefix="ablate-canary-") as temporary:
        jobs = []
        for variant, short in chosen:
            folder = create_run_folder(Path(temporary), short)
            jobs.append(RunJob(folder, f"canary of {variant}", probes))
        with show_progress(console, len(jobs), lambda job: None) as listener:
            halves = [dataclasses.replace(job, until=STEPS // 2) for job in jobs]
            _check_state(pool.run(halves, listener), "paused")
            outcomes = pool.run(jobs, listener)
        _check_state(outcomes, "done")
        total = {outcome.job.folder: outcome.seconds for outcome in outcomes}
        trained = [store.read_status(job.folder).seconds or 0.0 for job in jobs]
    return [
        (seconds / STEPS, max(0.0, total[job.folder] - seconds / 2))
        for job, seconds in zip(jobs, trained, strict=True)
    ]


def _check_state(outcomes: Sequence[RunOutcome], state: str) -> None:
    """Raises `StudyError` for outcomes in another state."""
    failed = [outcome for outcome in outcomes if outcome.state != state]
    if failed:
        raise StudyError(
            [f"{outcome.job.title} {outcome.state}: {outcome.reason}" for outcome in failed]
        )
