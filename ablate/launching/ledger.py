"""What is on disk: run folders, their states, which scores are there, and who holds them."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from ablate.files import write_json

State = Literal["planned", "running", "preempted", "stale", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
FAILURES = ("oom", "nan", "timeout", "node", "error")  # how the reason of a failure begins
ENDED = ("preempted", "done", "failed", "cancelled")  # as the run's own process wrote it


@dataclass(frozen=True)
class Folders:
    """Where runs, reports and decoded clips are kept."""

    runs: Path
    reports: Path
    cache: Path


@dataclass(frozen=True)
class Entry:
    """What a run folder says about its run."""

    state: State
    reason: str | None = None
    seconds: float | None = None


def folders(environ: Mapping[str, str] = os.environ) -> Folders:
    """Returns the folders that the environment names, or those of the working directory."""
    return Folders(
        runs=Path(environ.get("ABLATE_RUNS", "runs")),
        reports=Path(environ.get("ABLATE_REPORTS", "reports")),
        cache=Path(environ.get("ABLATE_CACHE", "cache")),
    )


def read_json(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it and run again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; delete it and run again")
    return content


def prepare(folder: Path, *, kind: str, settings: Mapping[str, Any]) -> None:
    """Writes a run's `config.json`, unless it says so already.

    The folder's name is a hash of all but where the data lies, and data may have moved.
    """
    config = {"kind": kind, "settings": settings}
    if read_json(folder / "config.json") != config:
        write_json(folder / "config.json", config)


def entry(folder: Path) -> Entry:
    """Reads a run's state. A run that says *running* but that nobody holds is stale."""
    record = read_json(folder / "run.json")
    if record is None:
        return Entry("running" if is_held(folder) else "planned")
    state: State = record["state"]
    if state == "running" and not is_held(folder):
        state = "stale"
    return Entry(state, record.get("reason"), (record.get("cost") or {}).get("seconds"))


def close(folder: Path, state: State, reason: str) -> None:
    """Ends the record of a run whose worker no longer can."""
    record = read_json(folder / "run.json") or {}
    if record.get("state") not in ENDED:
        write_json(folder / "run.json", {**record, "state": state, "reason": reason})


def missing_probes(folder: Path, probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names the probes, given with every default written out, that some task has no score of."""
    scored = {task.name: list(_results(task)) for task in (folder / "probes").glob("*/")}
    own = [task for task, results in scored.items() if any(_on_own(r["settings"]) for r in results)]

    def lacks(settings: Mapping[str, Any]) -> bool:
        tasks = own if _on_own(settings) else settings["content"]["tasks"]
        done = [t for t in tasks if any(r["settings"] == settings for r in scored.get(t, ()))]
        return not done or len(done) < len(tasks)

    return [name for name, settings in probes.items() if lacks(settings)]


def _on_own(settings: Mapping[str, Any]) -> bool:
    """Whether a probe examines on the clips of its trial, and not on others."""
    return "content" not in settings


def score(
    folder: Path, settings: Mapping[str, Any], pooling: str, *, part: str = "test"
) -> float | None:
    """Returns the mean over tasks of a probe's scores on a part; None where one is missing."""
    found = [
        result["scores"][pooling][part]
        for task in (folder / "probes").glob("*/")
        for result in _results(task)
        if result["settings"] == settings and pooling in result["scores"]
    ]
    return sum(found) / len(found) if found and None not in found else None


def find(runs: Path, prefix: str) -> Path:
    """Returns the run folder whose fingerprint begins with `prefix`."""
    found = sorted(path.parent for path in runs.glob(f"{prefix}*/config.json"))
    if not found:
        raise ValueError(f"no run in {runs} begins with `{prefix}`")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise ValueError(f"{len(found)} runs in {runs} begin with `{prefix}`: {names}; say more")
    return found[0]


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Holds a run for this process while inside; gives False where another one holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".held")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Tells whether some launcher on this machine holds the run now."""
    if not (folder / ".held").exists():
        return False
    with held(folder) as mine:
        return not mine


def _results(task: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(task.glob("*.json")):
        if (result := read_json(path)) is not None:
            yield result
