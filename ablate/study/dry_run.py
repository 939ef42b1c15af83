"""What is left of a study, timed by canaries: a few steps of every combination of parts.

Each is built, trained, saved and stopped half-way, resumed, and probed, in a folder that is thrown
away. Variants of the same parts are told apart by the FLOPs that their settings take.
"""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config.study import StudyError
from ablate.core.records.plan import PlanRequest
from ablate.design.trials import PlannedTrial
from ablate.executors.local import Pool
from ablate.executors.progress import progress_bar, show_progress
from ablate.executors.worker import RequestRefusedError, format_setting_problem
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.pending import PendingWork
from ablate.slurm.code_snapshot import parts
from ablate.study.prepare import Planned

STEPS = 20  # of a canary
SECONDS_AN_HOUR = 3600


@dataclasses.dataclass(frozen=True)
class Cost:
    """What is left to run of a variant."""

    variant: str
    trials: int
    hours: float  # of training and scoring, added up over all trials
    flops: float  # of training, likewise


def rehearse(planned: Planned, found: PendingWork, pool: Pool, console: Console) -> list[Cost]:
    """Runs the canaries and returns what is left to run of each variant.

    Raises `StudyError` where a canary is refused or does not come to its end.
    """
    left = {run.fingerprint for run in found.trainings}
    trials = {t.fingerprint: t for t in planned.trials if t.fingerprint in left}
    variants: dict[str, list[PlannedTrial]] = {}
    for trial in trials.values():
        variants.setdefault(trial.variant, []).append(trial)
    if not variants:
        return []
    firsts = [of[0] for of in variants.values()]
    entries = _named([_short(trial.settings) for trial in firsts], pool, console)
    of_parts: dict[tuple[str, ...], int] = {}  # the first variant of each combination
    for index, trial in enumerate(firsts):
        of_parts.setdefault(tuple(parts(trial.settings)), index)
    chosen = [(firsts[index].variant, entries[index]) for index in of_parts.values()]
    timed = dict(zip(of_parts, _tried(chosen, planned.plan["probes"], pool, console), strict=True))
    costs = []
    for trial, entry in zip(firsts, entries, strict=True):
        key = tuple(parts(trial.settings))
        ratio = entry["budget"]["flops"] / entries[of_parts[key]]["budget"]["flops"]
        step, scoring = timed[key]
        count, steps = len(variants[trial.variant]), trial.settings["budget"]["steps"]
        seconds = count * (steps * step * ratio + scoring)
        flops = count * steps * entry["budget"]["flops"] / STEPS
        costs.append(Cost(trial.variant, count, seconds / SECONDS_AN_HOUR, flops))
    return costs


def describe(costs: Sequence[Cost], workers: int) -> list[str]:
    """Says what is left to run takes, per variant and in all, shared by `workers`."""
    if not costs:
        return []
    lines = [
        f"  {cost.variant}: {cost.trials} trials, {cost.hours:.2g} hours, {cost.flops:.3g} FLOPs"
        for cost in costs
    ]
    hours, flops = sum(cost.hours for cost in costs), sum(cost.flops for cost in costs)
    return [
        f"timed by canaries of {STEPS} steps, on this machine under its present load:",
        *lines,
        f"{sum(cost.trials for cost in costs)} trials in all: {hours:.2g} hours of training and "
        f"scoring, {hours / workers:.2g} with {workers} workers, and {flops:.3g} FLOPs",
    ]


def _short(settings: Mapping[str, Any]) -> dict[str, Any]:
    budget = {**settings["budget"], "steps": STEPS}
    return {**settings, "budget": budget, "on_collapse": "warn"}


def _named(shorts: list[dict[str, Any]], pool: Pool, console: Console) -> list[dict[str, Any]]:
    """Has a worker name the short trials and count their FLOPs."""
    match = {"by": "steps", "baseline": shorts[0]}
    request = PlanRequest(trials=shorts, matched_budget=match)
    with progress_bar(console, "counting FLOPs") as on_progress:
        try:
            reply = pool.request(request, on_progress)
        except RequestRefusedError as error:
            problems = [f"canary: {format_setting_problem(p)}" for p in error.problems]
            raise StudyError(problems) from error
    refused = [problem for entry in reply.trials for problem in entry["problems"]]
    if refused:
        raise StudyError([f"canary: `{'.'.join(p['path'])}`: {p['message']}" for p in refused])
    return reply.trials


def _tried(
    chosen: Sequence[tuple[str, Mapping[str, Any]]],
    probes: Mapping[str, Any],
    pool: Pool,
    console: Console,
) -> list[tuple[float, float]]:
    """Runs canaries; returns the seconds of a step of each, and those of all that is no step."""
    with tempfile.TemporaryDirectory(prefix="ablate-canary-") as place:
        jobs = []
        for variant, entry in chosen:
            folder = Path(place) / entry["fingerprint"]
            store.write_config(folder, kind=entry["kind"], settings=entry["settings"])
            jobs.append(RunJob(folder, f"canary of {variant}", probes))
        with show_progress(console, len(jobs), lambda job: None) as watch:
            halves = [dataclasses.replace(job, until=STEPS // 2) for job in jobs]
            _check(pool.run(halves, watch), "paused")
            ended = pool.run(jobs, watch)
        _check(ended, "done")
        whole = {outcome.job.folder: outcome.seconds for outcome in ended}
        trained = [store.read_status(job.folder).seconds or 0.0 for job in jobs]
    return [
        (seconds / STEPS, max(0.0, whole[job.folder] - seconds / 2))
        for job, seconds in zip(jobs, trained, strict=True)
    ]


def _check(outcomes: Sequence[RunOutcome], wanted: str) -> None:
    failed = [outcome for outcome in outcomes if outcome.state != wanted]
    if failed:
        raise StudyError([f"{one.job.title} {one.state}: {one.reason}" for one in failed])
