"""What is on disk: run folders, their states, which scores are there, and who holds them."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ablate.core.io import find_json, write_json
from ablate.runs.lock import is_held, is_local
from ablate.runs.scores import examines_own, is_score_by, mean_over_tasks

State = Literal["planned", "running", "preempted", "pruned", "stale", "done", "failed", "cancelled"]
Result = dict[str, Any]  # the content of a score file
STATES: tuple[State, ...] = get_args(State)
FAILURES = ("oom", "nan", "collapsed", "timeout", "node", "error")  # how the reason of one begins
ENDED = ("preempted", "done", "failed", "cancelled")  # as the run's own process wrote it
TASKS = "probes/tasks.json"  # those of a run's own clips, as written before it is scored on them


@dataclass(frozen=True)
class Folders:
    """Where runs, reports and decoded clips are kept."""

    runs: Path
    reports: Path
    cache: Path


@dataclass(frozen=True)
class RunStatus:
    """What a run folder says about its run."""

    state: State
    reason: str | None = None
    seconds: float | None = None  # of the training; None where none are recorded
    code: str | None = None  # the commit that it was made by
    parts: Mapping[str, str] = field(default_factory=dict)  # digests of those that are not ours


def get_folders(environ: Mapping[str, str] = os.environ) -> Folders:
    """Returns the folders that `ABLATE_RUNS`, `ABLATE_REPORTS` and `ABLATE_CACHE` name.

    By default those are `runs`, `reports` and `cache` in the working directory.
    """
    return Folders(
        runs=Path(environ.get("ABLATE_RUNS", "runs")),
        reports=Path(environ.get("ABLATE_REPORTS", "reports")),
        cache=Path(environ.get("ABLATE_CACHE", "cache")),
    )


def run_folders(plan: Mapping[str, Any], runs: Path) -> list[Path]:
    """Lists the run folders of a saved plan, each once: trials and their references."""
    names = ("fingerprint", "twin", "statistics")
    unique = dict.fromkeys(trial[name] for trial in plan["trials"] for name in names)
    return [runs / fingerprint for fingerprint in unique]


def write_config(folder: Path, *, kind: str, settings: Mapping[str, Any]) -> None:
    """Writes a run's `config.json`, unless it says the same already.

    The folder's name is a hash of all but where the data lies, and data may have moved.
    """
    config = {"kind": kind, "settings": settings}
    if find_json(folder / "config.json") != config:
        write_json(folder / "config.json", config)


def read_status(folder: Path) -> RunStatus:
    """Reads a run's state. A run that says *running* but that nobody holds is stale.

    One of another machine is taken at its word: not every disk passes locks on. Whether it still
    lives, its heartbeat tells, and the queue that its job was in.

    Raises `ValueError` where `run.json` is damaged.
    """
    record = find_json(folder / "run.json")
    if record is None:
        return RunStatus("running" if is_held(folder) else "planned")
    state: State | None = record.get("state")
    if state not in STATES:
        raise ValueError(f"{folder / 'run.json'} names no state; delete it and run again")
    if state == "running" and is_local(record) and not is_held(folder):
        state = "stale"
    seconds = (record.get("cost") or {}).get("seconds")
    commit = (record.get("code") or {}).get("git")
    return RunStatus(state, record.get("reason"), seconds, commit, record.get("parts") or {})


def mark_ended(folder: Path, state: State, reason: str) -> None:
    """Ends the record of a run whose worker no longer can."""
    record = find_json(folder / "run.json") or {}
    if record.get("state") not in ENDED:
        write_json(folder / "run.json", {**record, "state": state, "reason": reason})


def mark_pruned(folder: Path, reason: str) -> None:
    """Marks a run that a sweep has given up; who wants it still goes on from where it paused."""
    record = find_json(folder / "run.json") or {}
    if record.get("state") == "preempted":
        write_json(folder / "run.json", {**record, "state": "pruned", "reason": reason})


def missing_probes(folder: Path, probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names the probes, given with every default written out, of which some task has no score."""
    scored = _scored(folder)

    def lacks(settings: Mapping[str, Any]) -> bool:
        tasks = _asked(folder, settings, scored)
        done = [t for t in tasks if any(is_score_by(settings, r) for r in scored.get(t, ()))]
        return not done or len(done) < len(tasks)

    return [name for name, settings in probes.items() if lacks(settings)]


def read_score(
    folder: Path, settings: Mapping[str, Any], pooling: str, *, part: str = "test"
) -> float | None:
    """Returns the mean over tasks of a probe's scores, in percent; None where one is missing.

    `settings` are the probe's, with every default written out; `part` is `test` or `valid`.
    """
    scored = _scored(folder)
    found = {
        task: result["scores"][pooling][part]
        for task, results in scored.items()
        for result in results
        if is_score_by(settings, result) and pooling in result["scores"]
    }
    return mean_over_tasks(found, _asked(folder, settings, scored))


def find_run(runs: Path, prefix: str) -> Path:
    """Returns the run folder whose fingerprint begins with `prefix`, which may be its path.

    Raises `ValueError` where there is none, or more than one.
    """
    if Path(prefix).parent.resolve() == runs.resolve():  # as a shell completes it
        prefix = Path(prefix).name
    found = sorted(path.parent for path in runs.glob(f"{prefix}*/config.json"))
    if not found:
        raise ValueError(f"no run in {runs} begins with `{prefix}`")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise ValueError(
            f"{len(found)} runs in {runs} begin with `{prefix}`: {names}; give more characters"
        )
    return found[0]


def _scored(folder: Path) -> dict[str, list[Result]]:
    """Reads all scores of a run, task by task."""
    return {task.name: list(_results(task)) for task in (folder / "probes").glob("*/")}


def _asked(
    folder: Path, settings: Mapping[str, Any], scored: Mapping[str, list[Result]]
) -> Collection[str]:
    """Names the tasks of a probe: those that it says, or those of the run's own clips.

    A run of before these were written down leaves a guess: the tasks that any probe has scored.
    """
    content = find_json(folder / TASKS) if examines_own(settings) else settings["content"]
    if content is not None:
        told: list[str] = content["tasks"]
        return told
    own = {task: [examines_own(r["settings"]) for r in of] for task, of in scored.items()}
    return [task for task, found in own.items() if any(found)]


def _results(task: Path) -> Iterator[Result]:
    for path in sorted(task.glob("*.json")):
        if (result := find_json(path)) is not None:
            yield result
