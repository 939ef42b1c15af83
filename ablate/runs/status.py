"""A study at a glance, from its plan and its run folders."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Any

from ablate.config.tree import find_differences, to_flow_yaml
from ablate.core import git as core_git
from ablate.core.records.plan import DataSummary, MatchedSetting, StudyPlan, TrialEntry
from ablate.design import dedupe, warnings
from ablate.design.trials import join_labels
from ablate.runs import store
from ablate.runs.cleanup import format_bytes
from ablate.runs.pending import TRIAL, PendingWork

BYTES_PER_NUMBER = 4  # float32
FIRST = 5  # items of a long list that are shown
LOG_BYTES = 200_000  # about what a run's records, curves and scores take
STATES_KEPT = 3  # a checkpoint's copies of each weight: the weight and Adam's two moments


def format_summary(plan: StudyPlan, found: PendingWork) -> list[str]:
    """Says in a few lines what a study is and what is left to do."""
    trials, num_seeds = len({t.fingerprint for t in plan.trials}), len(plan.seeds)
    sizes = [f"{name} ({len(levels)})" for name, levels in plan.factors.items()]
    grid = plan.design == "grid"
    told = (" x " if grid else ", ").join([*sizes, f"seeds ({num_seeds})"])
    lines = [f"{plan.study}: {told}{'' if grid else ', design ' + plan.design}"]
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
        lines += _clips(data)
    failed = sum(run.kind == TRIAL for run, _ in found.failed)
    done = trials - len(found.trainings) - failed
    lines.append(f"{len(found.trainings)} trials to run, {done} done, {failed} failed, of {trials}")
    if found.start or found.score:
        counts = f"{len(found.trainings)} trainings, {len(found.score)} re-scores"
        lines.append(f"{counts}, {len(found.references)} references")
    for run, reason in found.failed:
        lines.append(f"  failed before: {run.title} ({run.fingerprint}): {reason}")
    if found.failed:
        lines.append("  --retry-failed runs them again")
    return lines


def _clips(data: DataSummary) -> Iterable[str]:
    """Says how many clips of its data a study has, and which are skipped, silent or missing."""
    tasks = f"tasks: {', '.join(data.tasks)}" if data.tasks else "for training only"
    yield f"{data.clips} clips; {tasks}"
    for path, reason in data.skipped[:FIRST]:
        yield f"  skipped {path}: {reason}"
    if len(data.skipped) > FIRST:
        yield f"  and {len(data.skipped) - FIRST} more skipped"
    if data.silent:
        more = ", ..." if len(data.silent) > FIRST else ""
        yield f"  {len(data.silent)} silent: {', '.join(data.silent[:FIRST])}{more}"
    reasons: dict[str, list[str]] = {}
    for task in data.missing:
        reasons.setdefault(task.reason, []).append(task.task)
    for reason, names in reasons.items():
        yield f"  missing {', '.join(names)}: {reason}"


def format_code_warnings(plan: StudyPlan, runs: Path) -> list[str]:
    """Warns of parts that are not ours and whose code has changed since runs were made."""
    foreign = [trial for trial in plan.trials if trial.facts.parts]
    made = [store.read_status(runs / trial.fingerprint).parts for trial in foreign]
    planned = [trial.facts.parts for trial in foreign]
    return [f"warning: {line}" for line in warnings.code_warnings([*planned, *made])]


def format_status(plan: StudyPlan, runs: Path) -> list[str]:
    """Lists the trials of a saved plan with their states and validation scores."""
    found = collect_states(plan, runs)
    counted = ", ".join(f"{count} {state}" for state, count in found["counts"].items())
    rows = [
        [
            trial["fingerprint"],
            trial["variant"],
            str(trial["seed"]),
            trial["state"],
            "" if trial["valid"] is None else f"{trial['valid']:.1f}",
            trial["reason"] or "",
        ]
        for trial in found["trials"]
    ]
    head = ["run", "variant", "seed", "state", "valid", ""]
    return [f"{plan.study}: {counted}", *align_columns([head, *rows]), *_older(found["trials"])]


def _older(trials: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Says how many results other commits of the code have made; none is made again for that."""
    here = core_git.get_commit()
    made = Counter(trial["code"] for trial in trials if trial["state"] == "done" and trial["code"])
    for code, count in made.items():
        if here is not None and code != here:
            yield f"  {count} done by other code: commit {code[:10]}; this is {here[:10]}"


def collect_states(plan: StudyPlan, runs: Path) -> dict[str, Any]:
    """Returns the state of each trial of a saved plan, and its validation score in percent.

    As plain data: `study`, `counts` by state, and `trials`. Test data is opened by the report
    alone.
    """
    probe, pooling = plan.score_protocol, plan.score.pooling
    rows, counts = [], dict.fromkeys(store.STATES, 0)
    for trial in plan.trials:
        folder = runs / trial.fingerprint
        status = store.read_status(folder)
        counts[status.state] += 1
        rows.append(
            {
                "fingerprint": trial.fingerprint,
                "variant": name_variant(trial),
                "levels": trial.levels,
                "seed": trial.seed,
                "state": status.state,
                "reason": status.reason,
                "code": status.code,
                "valid": store.read_score(folder, probe, pooling, part="valid"),
            }
        )
    told = {state: count for state, count in counts.items() if count}
    return {"study": plan.study, "counts": told, "trials": rows}


def is_unfinished(plan: StudyPlan, runs: Path) -> bool:
    """Tells whether some trial of a saved plan is running, or can be expected to.

    A stale one says that its session was killed: until the study is run again, nobody runs what
    is left.
    """
    found = {store.read_status(runs / trial.fingerprint).state for trial in plan.trials}
    return "running" in found or ("stale" not in found and bool(found & {"planned", "preempted"}))


def format_preview(plan: StudyPlan, runs: Path) -> list[str]:
    """Lists the baseline, what each variant changes, warnings, the trials' states, and disk.

    The baseline is written as a study could have it, with every default.
    """
    variants = {tuple(trial.levels.items()): trial for trial in reversed(plan.trials)}
    baseline = max(reversed(variants.values()), key=lambda trial: _likeness(trial, plan))
    settings = {key: value for key, value in baseline.settings.items() if key != "seed"}
    lines = ["baseline:", *(f"  {key}: {to_flow_yaml(value)}" for key, value in settings.items())]
    lines.append("variants (baseline first):")
    for trial in sorted(reversed(variants.values()), key=lambda trial: trial is not baseline):
        lines.append(f"  {name_variant(trial)}: {_told(trial)}")
        lines += [
            f"    {line}" for line in (trial.facts.tokens.messages if trial.facts.tokens else ())
        ]
        lines += [f"    {line}" for line in format_changes(baseline.settings, trial.settings)]
        lines += [f"    matched: {_match(match)}" for match in trial.facts.matched]
        if budget := trial.facts.budget:
            taken = f"{budget.clips:,} clips, {budget.flops:.3g} FLOPs"
            lines.append(f"    {budget.steps:,} steps to match {budget.by}: {taken}")
    lines += [f"warning: {warning}" for warning in plan.warnings]
    rows = [
        [*_names(trial), store.read_status(runs / trial.fingerprint).state] for trial in plan.trials
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
    """Says how much disk the run folders will take when all is done, and a run while it trains.

    Counts each trial, and the checkpoint of the largest; references are not counted.
    """
    counts = [trial.facts.parameters for trial in trials]
    trained = [2 * count.encoder + count.predictor for count in counts]
    most = max(trained) * BYTES_PER_NUMBER * STATES_KEPT
    there = next(folder for folder in (runs, *runs.absolute().parents) if folder.is_dir())
    free = disk_usage(there).free
    return (
        f"disk: {format_bytes(estimate_kept_bytes(trials))} when all is done, "
        f"{format_bytes(most)} more per worker "
        f"while it trains; {format_bytes(free)} free on the disk holding {runs}/"
    )


def estimate_kept_bytes(trials: Sequence[TrialEntry]) -> int:
    """Returns about how many bytes the trials' run folders will take when all is done."""
    return sum(trial.facts.parameters.encoder * BYTES_PER_NUMBER + LOG_BYTES for trial in trials)


def name_variant(trial: TrialEntry) -> str:
    """Names a trial's variant by its levels."""
    return join_labels(trial.levels.values())


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns the cells of a table's rows; returns a line a row, indented by two spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _likeness(trial: TrialEntry, plan: StudyPlan) -> int:
    """Counts the factors at the baseline's level in a trial, and those that mean nothing in it."""
    baseline = plan.baseline
    return sum(trial.levels.get(name, label) == label for name, label in baseline.items())


def _names(trial: TrialEntry) -> Iterable[str]:
    return trial.fingerprint, name_variant(trial), str(trial.seed)


def _told(trial: TrialEntry) -> str:
    facts = trial.facts
    freq, time = facts.grid
    shares = f"{facts.context:.0%} visible, {facts.targets:.0%} predicted"
    if facts.overlap:
        shares += f" ({facts.overlap:.1%} of the visible are also predicted)"
    weights = facts.parameters.encoder
    return f"grid {freq}x{time}, {shares}, encoder of {weights:,} weights"


def _match(match: MatchedSetting) -> str:
    return (
        f"{match.setting} {match.value} for {match.share} {100 * match.wanted:.1f} %, "
        f"reached {100 * match.reached:.1f} %"
    )
