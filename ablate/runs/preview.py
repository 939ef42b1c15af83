"""Formats what a study would run, from its plan and its run folders."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Any

from ablate.config.design import BASELINE
from ablate.config.tree import find_differences, to_flow_yaml
from ablate.core.records.plan import DataSummary, MatchedSetting, StudyPlan, TrialEntry
from ablate.core.seeds import SETTINGS
from ablate.design import dedupe, warnings
from ablate.runs import store
from ablate.runs.cleanup import format_bytes
from ablate.runs.pending import TRIAL, PendingWork
from ablate.runs.status import align_columns, name_variant

BYTES_PER_NUMBER = 4  # float32
MAX_ITEMS = 5  # listed from a long list
LOG_BYTES = 200_000  # approximate size of a run's records, curves and scores
COPIES_PER_WEIGHT = 3  # in a checkpoint: the weight and the two moments of Adam


def format_summary(plan: StudyPlan, work: PendingWork) -> list[str]:
    """Summarizes a study and its pending work in a few lines."""
    trials, num_seeds = len({t.fingerprint for t in plan.trials}), len(plan.seeds)
    sizes = [f"{name} ({len(levels)})" for name, levels in plan.factors.items()]
    is_grid = plan.design == "grid"
    design = (" x " if is_grid else ", ").join([*sizes, f"seeds ({num_seeds})"])
    lines = [f"{plan.study}: {design}{'' if is_grid else ', design ' + plan.design}"]
    if plan.looks is not None:
        look, most = len(plan.looks.seed_counts), plan.looks.max_seeds
        lines.append(f"  look {look}, with {num_seeds} of up to {most} seeds")
    for name, level in plan.baseline.items():
        if level == BASELINE and name in plan.factors:
            lines.append(
                f"  no level of {name} is the setting of the baseline, so `{BASELINE}` was added "
                "as one"
            )
    if plan.added:
        lines.append(f"  added after a look at the other variants: {'; '.join(plan.added)}")
    if (separate := plan.separate_seeds) is not None:
        lines += [f"  verdicts {separate.scope}"] if separate.scope else []
        if crossing := sum(trial.crosses for trial in plan.trials):
            lines.append(
                f"  {crossing} of {len(plan.trials)} trials cross seeds: the report learns from "
                "them where the spread comes from, and uses them in no verdict"
            )
    if fresh := sorted({trial.seed for trial in plan.trials if trial.confirms}):
        lines.append(f"  the leaders are confirmed on fresh seeds {', '.join(map(str, fresh))}")
    lines += [f"  {dedupe.format_merged_factors(merged)}" for merged in plan.merged]
    for names in plan.duplicates:
        lines.append(f"  the same trial, run once: {'; '.join(names)}")
    for data in plan.data:
        lines += _format_clips(data)
    failed = sum(run.kind == TRIAL for run, _ in work.failed)
    done = trials - len(work.trainings) - failed
    lines.append(f"{len(work.trainings)} trials to run, {done} done, {failed} failed, of {trials}")
    if work.start or work.score:
        counts = f"{len(work.trainings)} trainings, {len(work.score)} re-scores"
        lines.append(f"{counts}, {len(work.references)} references")
        lines += _format_random_inits(plan, work)
    for run, reason in work.failed:
        lines.append(f"  failed before: {run.title} ({run.fingerprint}): {reason}")
    if work.failed:
        lines.append("  --retry-failed runs them again")
    return lines


def _format_random_inits(plan: StudyPlan, work: PendingWork) -> Iterable[str]:
    """Formats how many references are there to make gains less noisy."""
    further = {name for trial in plan.trials for name in trial.further_inits}
    left = sum(run.fingerprint in further for run in work.references)
    if further:
        count = max(1 + len(trial.further_inits) for trial in plan.trials)
        yield (
            f"  gains subtract the mean of {count} untrained encoders per seed: {left} references "
            f"are for that; `random_inits: 1` does without"
        )


def _format_clips(data: DataSummary) -> Iterable[str]:
    """Formats the number of clips of a data set, and which are skipped, silent or missing."""
    tasks = f"tasks: {', '.join(data.tasks)}" if data.tasks else "for training only"
    yield f"{data.clips} clips; {tasks}"
    for path, reason in data.skipped[:MAX_ITEMS]:
        yield f"  skipped {path}: {reason}"
    if len(data.skipped) > MAX_ITEMS:
        yield f"  and {len(data.skipped) - MAX_ITEMS} more skipped"
    if data.silent:
        more = ", ..." if len(data.silent) > MAX_ITEMS else ""
        yield f"  {len(data.silent)} silent: {', '.join(data.silent[:MAX_ITEMS])}{more}"
    if data.cancelled:
        more = ", ..." if len(data.cancelled) > MAX_ITEMS else ""
        yield (
            f"  {len(data.cancelled)} with channels of opposite phase, whose mean is almost "
            f"silent: {', '.join(data.cancelled[:MAX_ITEMS])}{more}; set `channel: left`"
        )
    yield from (f"  warning: {note}" for note in data.notes)
    reasons: dict[str, list[str]] = {}
    for task in data.missing:
        reasons.setdefault(task.reason, []).append(task.task)
    for reason, names in reasons.items():
        yield f"  missing {', '.join(names)}: {reason}"


def format_code_warnings(plan: StudyPlan, runs: Path) -> list[str]:
    """Formats a warning for each part outside ablate whose code has changed since its runs."""
    trials = [trial for trial in plan.trials if trial.facts.parts]
    recorded = [store.read_status(runs / trial.fingerprint).parts for trial in trials]
    planned = [trial.facts.parts for trial in trials]
    return [f"warning: {line}" for line in warnings.code_warnings([*planned, *recorded])]


def format_preview(plan: StudyPlan, runs: Path) -> list[str]:
    """Lists the baseline, what each variant changes, warnings, the trials' states, and disk.

    The baseline is formatted as YAML with every default.
    """
    variants = {tuple(trial.levels.items()): trial for trial in reversed(plan.trials)}
    baseline = max(
        reversed(variants.values()), key=lambda trial: _count_baseline_levels(trial, plan)
    )
    settings = {key: v for key, v in baseline.settings.items() if key not in SETTINGS.values()}
    lines = ["baseline:", *(f"  {key}: {to_flow_yaml(value)}" for key, value in settings.items())]
    lines.append("variants (baseline first):")
    for trial in sorted(reversed(variants.values()), key=lambda trial: trial is not baseline):
        lines.append(f"  {name_variant(trial)}: {_format_facts(trial)}")
        lines += [
            f"    {line}" for line in (trial.facts.tokens.messages if trial.facts.tokens else ())
        ]
        lines += [f"    {line}" for line in format_changes(baseline.settings, trial.settings)]
        lines += [f"    matched: {_format_match(match)}" for match in trial.facts.matched]
        if budget := trial.facts.budget:
            cost = f"{budget.clips:,} clips, {budget.flops:.3g} FLOPs"
            lines.append(f"    {budget.steps:,} steps to match {budget.by}: {cost}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    rows = [
        [
            trial.fingerprint,
            name_variant(trial),
            str(trial.seed),
            store.read_status(runs / trial.fingerprint).state,
        ]
        for trial in plan.trials
    ]
    lines += ["trials:", *align_columns([["run", "variant", "seed", "state"], *rows])]
    return [*lines, format_disk_use(plan.trials, runs)]


def format_changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Lists the settings that differ, `seed: 0 -> 1`; a dash stands for an absent setting."""
    return [
        f"{path}: {'-' if before is None else before} -> {'-' if after is None else after}"
        for path, (before, after) in find_differences(one, other).items()
    ]


def format_disk_use(trials: Sequence[TrialEntry], runs: Path) -> str:
    """Formats the disk space of all finished runs, and that of a run while it trains.

    Counts every trial, and the checkpoint of the largest one, but no references.
    """
    counts = [trial.facts.parameters for trial in trials]
    trained = [2 * count.encoder + count.predictor for count in counts]
    largest = max(trained) * BYTES_PER_NUMBER * COPIES_PER_WEIGHT
    existing = next(folder for folder in (runs, *runs.absolute().parents) if folder.is_dir())
    free = disk_usage(existing).free
    return (
        f"disk: {format_bytes(estimate_kept_bytes(trials))} when all is done, "
        f"{format_bytes(largest)} more per worker "
        f"while it trains; {format_bytes(free)} free on the disk holding {runs}/"
    )


def estimate_kept_bytes(trials: Sequence[TrialEntry]) -> int:
    """Estimates the total size of the trials' run folders when all are done, in bytes."""
    return sum(trial.facts.parameters.encoder * BYTES_PER_NUMBER + LOG_BYTES for trial in trials)


def _count_baseline_levels(trial: TrialEntry, plan: StudyPlan) -> int:
    """Counts the factors at the baseline's level in a trial, or that do not apply to it."""
    baseline = plan.baseline
    return sum(trial.levels.get(name, label) == label for name, label in baseline.items())


def _format_facts(trial: TrialEntry) -> str:
    facts = trial.facts
    freq, time = facts.grid
    shares = f"{facts.context:.0%} visible, {facts.targets:.0%} predicted"
    if facts.overlap:
        shares += f" ({facts.overlap:.1%} of the visible are also predicted)"
    weights = facts.parameters.encoder
    return f"grid {freq}x{time}, {shares}, encoder of {weights:,} weights"


def _format_match(match: MatchedSetting) -> str:
    return (
        f"{match.setting} {match.value} for {match.share} {100 * match.wanted:.1f} %, "
        f"reached {100 * match.reached:.1f} %"
    )
