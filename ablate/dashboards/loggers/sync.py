"""Copies the records of a study's runs to a logger, each step once."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ablate.core.nested import flatten
from ablate.core.records.plan import StudyPlan, TrialEntry
from ablate.core.records.record import Record
from ablate.dashboards.loggers.logger import AbstractLogger, LoggedRun
from ablate.design.trials import join_labels
from ablate.runs import store
from ablate.runs.logs import read_metrics

POLL_SECONDS = 10.0
GROUPS = {"online_score": "online/score"}  # names that differ from train/NAME


@dataclass(frozen=True, kw_only=True)
class SyncState(Record):
    """Which steps of which runs a logger has."""

    REMEDY: ClassVar[str] = "delete its folder, and copy the study to the logger again"

    steps: dict[str, int]  # fingerprint -> last step
    done: tuple[str, ...] = ()  # fingerprints of runs that have ended


def sync_study(
    plan: StudyPlan, folders: store.Folders, logger: AbstractLogger, folder: Path
) -> int:
    """Copies what a logger lacks.

    Args:
        plan: The plan of the study.
        folders: Where the runs lie.
        logger: Where to copy to.
        folder: Where the logger may keep files; what it has is recorded here.

    Returns:
        The number of runs of which something was copied.

    Raises:
        ValueError: A file is damaged.
    """
    file = folder / "sync.json"
    state = SyncState.find(file) or SyncState(steps={})
    num_copied = 0
    for trial in {trial.fingerprint: trial for trial in plan.trials}.values():
        if trial.fingerprint in state.done:
            continue
        run = folders.runs / trial.fingerprint
        last = state.steps.get(trial.fingerprint, -1)
        rows = [row for row in read_metrics(run) if row["step"] > last]
        has_ended = store.read_status(run).state == "done"
        if not (rows or has_ended):
            continue
        logger.start(_describe_run(plan, trial, folder))
        for row in rows:
            logger.log(row["step"], dict(_name_values(row)))
        logger.finish(_summarise(plan, run) if has_ended else {}, has_ended=has_ended)
        num_copied += 1
        steps = {**state.steps, trial.fingerprint: max([last, *(row["step"] for row in rows)])}
        done = (*state.done, trial.fingerprint) if has_ended else state.done
        state = SyncState(steps=steps, done=done)
        state.write(file)
    return num_copied


def follow_study(
    plan: StudyPlan, folders: store.Folders, logger: AbstractLogger, folder: Path
) -> Iterator[int]:
    """Copies again and again until all runs have ended; yields how many runs were copied."""
    while True:
        yield sync_study(plan, folders, logger, folder)
        states = {store.read_status(folders.runs / t.fingerprint).state for t in plan.trials}
        if states <= {"done", "failed", "cancelled"}:
            return
        time.sleep(POLL_SECONDS)


def _describe_run(plan: StudyPlan, trial: TrialEntry, folder: Path) -> LoggedRun:
    variant = join_labels(trial.levels.values())
    levels = {f"level.{factor}": label for factor, label in trial.levels.items()}
    return LoggedRun(
        study=plan.study,
        key=trial.fingerprint,
        name=f"{variant}, seed {trial.seed}",
        settings={**levels, **flatten(trial.settings)},
        folder=folder,
    )


def _name_values(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields the values of one line of metrics, named as in TensorBoard."""
    for name, value in row.items():
        if name == "online_scores":
            yield from ((f"online/{task}", score) for task, score in value.items())
        elif name != "step":
            yield GROUPS.get(name, f"train/{name}"), float(value)


def _summarise(plan: StudyPlan, run: Path) -> dict[str, float]:
    """Returns the validation score; test scores are for the report alone."""
    score = store.read_score(run, plan.score_protocol, plan.score.pooling, part="valid")
    return {} if score is None else {"valid_score": score}
