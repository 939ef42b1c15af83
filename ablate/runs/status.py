"""Formats the state of a study for the terminal, from its plan and its run folders."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shutil import disk_usage
from types import MappingProxyType
from typing import Any

from ablate.config.tree import find_differences, to_flow_yaml
from ablate.core import git as core_git
from ablate.core.records.plan import DataSummary, MatchedSetting, StudyPlan, TrialEntry
from ablate.design import dedupe, warnings
from ablate.design.trials import join_labels
from ablate.runs import store
from ablate.runs.cleanup import format_bytes
from ablate.runs.logs import format_training_progress
from ablate.runs.pending import TRIAL, PendingWork

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
    if plan.added:
        lines.append(f"  added after a look at the other variants: {'; '.join(plan.added)}")
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


def format_status(
    plan: StudyPlan, runs: Path, queued: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """Lists the trials of a saved plan with their states and validation scores.

    `queued` describes the jobs of runs that are in the queue, by fingerprint.
    """
    states = collect_states(plan, runs, queued)
    counts = ", ".join(f"{count} {state}" for state, count in states["counts"].items())
    rows = [
        [
            trial["fingerprint"],
            trial["variant"],
            str(trial["seed"]),
            trial["state"],
            "" if trial["valid"] is None else f"{trial['valid']:.1f}",
            trial["reason"] or trial["progress"],
        ]
        for trial in states["trials"]
    ]
    header = ["run", "variant", "seed", "state", "valid", ""]
    table = align_columns([header, *rows])
    others = _format_other_queued(plan, queued)
    return [f"{plan.study}: {counts}", *table, *others, *_format_code_versions(states["trials"])]


def _format_other_queued(plan: StudyPlan, queued: Mapping[str, str]) -> Iterable[str]:
    """Formats the queued runs that are not in the table of trials."""
    names: dict[str, str] = {}
    for trial in plan.trials:
        title = f"random init of {name_variant(trial)}, seed {trial.seed}"
        names |= dict.fromkeys((trial.random_init, *trial.further_inits), title)
        names.setdefault(trial.statistics, "log-mel statistics")
    trials = {trial.fingerprint for trial in plan.trials}
    for fingerprint, job in queued.items():
        if fingerprint not in trials:
            removed = "no longer in the study (--prune-removed cancels it)"
            yield f"  {fingerprint}  {names.get(fingerprint, removed)}: {job}"


def _format_code_versions(trials: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Formats how many results come from other commits; these are not run again."""
    current = core_git.get_commit()
    codes = Counter(t["code"] for t in trials if t["state"] == "done" and t["code"])
    for code, count in codes.items():
        if current is not None and code != current:
            yield f"  {count} results come from commit {code[:10]} (now at {current[:10]})"


def collect_states(
    plan: StudyPlan, runs: Path, queued: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Returns the state of each trial of a saved plan, and its validation score in percent.

    Returns plain data: `study`, `counts` by state, and `trials`. Only the report reads scores of
    test data.
    """
    probe, pooling = plan.score_protocol, plan.score.pooling
    rows, counts = [], dict.fromkeys(store.STATES, 0)
    for trial in plan.trials:
        folder = runs / trial.fingerprint
        status = store.read_status(folder)
        if trial.fingerprint in queued and status.state not in ("running", "done"):
            status = store.RunStatus("queued", queued[trial.fingerprint], code=status.code)
        counts[status.state] += 1
        rows.append(
            {
                "fingerprint": trial.fingerprint,
                "variant": name_variant(trial),
                "levels": trial.levels,
                "seed": trial.seed,
                "state": status.state,
                "reason": status.reason,
                "progress": _format_progress(status.state, folder, trial)
                + _format_suspension(queued.get(trial.fingerprint, "")),
                "code": status.code,
                "valid": store.read_score(folder, probe, pooling, part="valid"),
            }
        )
    nonzero = {state: count for state, count in counts.items() if count}
    return {"study": plan.study, "counts": nonzero, "trials": rows}


def _format_progress(state: str, folder: Path, trial: TrialEntry) -> str:
    """Formats how far the training of a running trial is; an empty text for other states."""
    steps = trial.settings.get("budget", {}).get("steps")
    return format_training_progress(folder, steps) if state == "running" and steps else ""


def _format_suspension(job: str) -> str:
    """Formats that a running trial stands still because its job is suspended."""
    return f" {job}" if "SUSPENDED" in job else ""


def is_unfinished(plan: StudyPlan, runs: Path) -> bool:
    """Returns whether a trial of a saved plan is running, or can be expected to run.

    After a stale trial, whose session was killed, nothing runs until the study is run again.
    """
    states = {store.read_status(runs / trial.fingerprint).state for trial in plan.trials}
    return "running" in states or (
        "stale" not in states and bool(states & {"planned", "preempted"})
    )


def format_preview(plan: StudyPlan, runs: Path) -> list[str]:
    """Lists the baseline, what each variant changes, warnings, the trials' states, and disk.

    The baseline is formatted as YAML with every default.
    """
    variants = {tuple(trial.levels.items()): trial for trial in reversed(plan.trials)}
    baseline = max(
        reversed(variants.values()), key=lambda trial: _count_baseline_levels(trial, plan)
    )
    settings = {key: value for key, value in baseline.settings.items() if key != "seed"}
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


def name_variant(trial: TrialEntry) -> str:
    """Returns the name of a trial's variant, built from its levels."""
    return join_labels(trial.levels.values())


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns the columns of a table; returns one line per row, indented by two spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


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
