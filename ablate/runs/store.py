"""Reads run folders: the state of each run, which scores it has, and which are missing."""

import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from ablate.core.io import DamagedFileError
from ablate.core.records.plan import StudyPlan
from ablate.core.records.record import FormatError
from ablate.core.records.run import CONFIG_FILE, FailureKind, RunConfig, RunKind
from ablate.core.records.score import ScoreFile, TaskList
from ablate.runs.lock import is_local, is_locked
from ablate.runs.record import read_record
from ablate.runs.scores import is_score_by, mean_over_tasks, uses_own_clips

State = Literal[
    "planned", "queued", "running", "preempted", "pruned", "stale", "done", "failed", "cancelled"
]
STATES: tuple[State, ...] = get_args(State)
SCORES = "probes"  # folder of a run's scores
TASKS_FILE = f"{SCORES}/tasks.json"


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folders:
    """Folders of runs, reports and decoded clips."""

    runs: Path
    reports: Path
    cache: Path


@dataclass(frozen=True)
class RunStatus:
    """State of a run, read from its folder."""

    state: State
    reason: str | None = None
    seconds: float | None = None  # duration of the training; None if it has not finished
    code: str | None = None  # commit of the code that ran it
    parts: Mapping[str, str] = field(default_factory=dict)  # part outside ablate -> code digest
    failure: FailureKind | None = None


def get_folders(environ: Mapping[str, str] = os.environ) -> Folders:
    """Returns the folders that `ABLATE_RUNS`, `ABLATE_REPORTS` and `ABLATE_CACHE` name.

    By default those are `runs`, `reports` and `cache` in the working directory.
    """
    return Folders(
        runs=Path(environ.get("ABLATE_RUNS", "runs")),
        reports=Path(environ.get("ABLATE_REPORTS", "reports")),
        cache=Path(environ.get("ABLATE_CACHE", "cache")),
    )


def list_run_folders(plan: StudyPlan, runs: Path) -> list[Path]:
    """Lists the run folders of a saved plan without repetition: trials and their references."""
    unique = dict.fromkeys(
        fingerprint
        for trial in plan.trials
        for fingerprint in (
            trial.fingerprint,
            trial.random_init,
            *trial.further_inits,
            trial.statistics,
        )
    )
    return [runs / fingerprint for fingerprint in unique]


def write_config(folder: Path, *, kind: RunKind, settings: Mapping[str, Any]) -> None:
    """Writes a run's `config.json` if it is missing, damaged, of another version or differs.

    It may differ in the location of the data, which the folder's name does not depend on.
    """
    config = RunConfig(kind=kind, settings=dict(settings))
    if _find_config(folder) != config:
        config.write(folder / CONFIG_FILE)


def repair_config(folder: Path, *, kind: RunKind, settings: Mapping[str, Any]) -> None:
    """Writes the `config.json` of a finished run again if it cannot be read, if this user may."""
    if _find_config(folder) is None:
        with suppress(OSError):  # runs of a colleague, or an archive
            RunConfig(kind=kind, settings=dict(settings)).write(folder / CONFIG_FILE)


def _find_config(folder: Path) -> RunConfig | None:
    with suppress(DamagedFileError, FormatError):
        return RunConfig.find(folder / CONFIG_FILE)
    return None


def read_status(folder: Path) -> RunStatus:
    """Reads the state of a run. A running one is stale if no process has locked its folder.

    The state of a run on another machine is returned as recorded, because not every network disk
    supports locks; its heartbeat and the job queue show whether it is alive.

    A damaged `run.json` does not stop anything, see `read_record`. Raises `FormatError` for one of
    another version.
    """
    record = read_record(folder)
    state: State = record.state
    if record.state == "planned" and is_locked(folder):
        state = "running"
    if record.state == "running" and is_local(record) and not is_locked(folder):
        state = "stale"
    return RunStatus(
        state,
        record.reason,
        seconds=None if record.cost is None else record.cost.seconds,
        code=None if record.code is None else record.code.commit,
        parts=record.parts,
        failure=record.failure,
    )


def read_scores(folder: Path) -> list[ScoreFile]:
    """Reads all score files of a run, sorted by task and key.

    A damaged file is left out with a warning: its score is missing, and computed again by the next
    run. Raises `FormatError` for a file of another version.
    """
    scores = []
    for path in sorted((folder / SCORES).glob("*/*.json")):
        try:
            score = ScoreFile.find(path)
        except DamagedFileError as error:
            _warn_once(f"{error}; until then its score is missing")
            continue
        if score is not None:
            scores.append(score)
    return scores


@lru_cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)


def find_missing_probes(folder: Path, probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the names of the probes that lack the score of a task.

    `probes` have every default written out.
    """
    scores = read_scores(folder)

    def is_missing(settings: Mapping[str, Any]) -> bool:
        tasks = _list_tasks(folder, settings)
        scored = {score.task for score in scores if is_score_by(settings, score.settings)}
        return not tasks or not scored.issuperset(tasks)

    return [name for name, settings in probes.items() if is_missing(settings)]


def read_score(
    folder: Path,
    settings: Mapping[str, Any],
    pooling: str,
    *,
    part: Literal["valid", "test"] = "test",
) -> float | None:
    """Returns the mean over tasks of a probe's scores in percent; None if one is missing.

    `settings` are the probe's, with every default written out; `part` is `test` or `valid`.
    """
    scores = {
        score.task: getattr(score.scores[pooling], part)
        for score in read_scores(folder)
        if is_score_by(settings, score.settings) and pooling in score.scores
    }
    return mean_over_tasks(scores, _list_tasks(folder, settings))


def find_run(runs: Path, prefix: str) -> Path:
    """Returns the run folder whose fingerprint begins with `prefix`, which may be its path.

    Raises `ValueError` if no run matches, or several.
    """
    path = Path(prefix).resolve()  # a link leads to a run, too
    if path.parent == runs.resolve() and (path / CONFIG_FILE).exists():
        return runs / path.name
    if Path(prefix).parent.resolve() == runs.resolve():  # as a shell completes it
        prefix = Path(prefix).name
    matches = sorted(path.parent for path in runs.glob(f"{prefix}*/{CONFIG_FILE}"))
    if not matches:
        present = [file.parent.name for file in sorted(runs.glob(f"*/{CONFIG_FILE}"))]
        listed = f"; it has {len(present)} runs, such as {', '.join(present[:3])}" * bool(present)
        remedy = "`ablate status` lists runs by variant and seed"
        raise ValueError(f"no run in {runs} begins with `{prefix}`{listed}; {remedy}")
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches[:5])
        raise ValueError(
            f"{len(matches)} runs in {runs} begin with `{prefix}`: {names}; give more characters"
        )
    return matches[0]


def _list_tasks(folder: Path, settings: Mapping[str, Any]) -> Collection[str]:
    """Returns the tasks of a probe: those of its own data set, else those of the run's clips."""
    if not uses_own_clips(settings):
        tasks: list[str] = settings["content"]["tasks"]
        return tasks
    try:
        recorded = TaskList.find(folder / TASKS_FILE)
    except DamagedFileError as error:
        _warn_once(f"{error}; until then its scores are missing")
        return ()
    return () if recorded is None else recorded.tasks
