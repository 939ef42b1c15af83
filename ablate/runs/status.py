"""Formats the states of a study's trials for the terminal, from its plan and its run folders."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ablate.core import git as core_git
from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.design.trials import join_labels
from ablate.runs import store
from ablate.runs.logs import format_training_progress


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


def name_variant(trial: TrialEntry) -> str:
    """Returns the name of a trial's variant, built from its levels."""
    return join_labels(trial.levels.values())


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns the columns of a table; returns one line per row, indented by two spaces."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
