"""Writes run folders for tests, from the record classes that the program uses."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.records.record import CHECKSUM
from ablate.core.records.run import (
    RECORD_FILE,
    RecordedState,
    RunCost,
    RunMetrics,
    RunRecord,
    get_failure_kind,
)
from ablate.core.records.score import PoolingScore, ScoreFile, TaskList
from ablate.runs.store import SCORES, TASKS_FILE

COST = RunCost(
    steps=100,
    clips=1600,
    audio_hours=4.4,
    masks=1600,
    fallbacks=0,
    context_tokens=20_000,
    target_tokens=20_000,
    valid_tokens=51_200,
    flops=10**12,
    seconds=60.0,
    peak_memory_mb=500.0,
)
METRICS = RunMetrics(
    loss=0.1,
    position_loss=0.2,
    effective_rank=20.0,
    effective_rank_init=10.0,
    feature_std=0.5,
    context_fraction=0.4,
    target_fraction=0.4,
    fallback_fraction=0.0,
    tokens_per_second=1000.0,
)


def write_record(
    folder: Path, state: RecordedState, reason: str | None = None, **fields: Any
) -> Path:
    """Writes the `run.json` of a run in some state; returns its folder."""
    failure = get_failure_kind(reason) if state == "failed" else None
    record = RunRecord(state=state, reason=reason, failure=failure, **fields)
    record.write(folder / RECORD_FILE)
    return folder


def write_score(
    folder: Path, task: str, settings: dict[str, Any], key: str = "key", **scores: dict[str, Any]
) -> Path:
    """Writes a score file, `mean={"test": 40.0}`, and adds its task to the list; returns its path.

    A probe with a data set of its own scores on tasks that are not in the list.
    """
    file = folder / SCORES / task / f"{key}.json"
    poolings = {pooling: PoolingScore(**score) for pooling, score in scores.items()}
    ScoreFile(task=task, key=key, settings=settings, scores=poolings).write(file)
    if "content" not in settings:
        tasks = TaskList.find(folder / TASKS_FILE) or TaskList(tasks=[])
        write_tasks(folder, *sorted({*tasks.tasks, task}))
    return file


def write_tasks(folder: Path, *tasks: str) -> None:
    """Writes the list of the tasks that a run is scored on."""
    TaskList(tasks=list(tasks)).write(folder / TASKS_FILE)


def edit_score(file: Path, **changes: Any) -> None:
    """Replaces fields of a score file."""
    replace(ScoreFile.read(file), **changes).write(file)


def rewrite_score(file: Path, content: Mapping[str, Any]) -> None:
    """Writes the changed content of a score file, with its new checksum."""
    kept = {key: value for key, value in content.items() if key != CHECKSUM}
    ScoreFile.from_json(kept, str(file)).write(file)


def edit_record(folder: Path, **changes: Any) -> None:
    """Replaces fields of a run's record."""
    replace(RunRecord.read(folder / RECORD_FILE), **changes).write(folder / RECORD_FILE)
