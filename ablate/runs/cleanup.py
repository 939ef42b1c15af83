"""Finds and deletes run folders that no study refers to."""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.core.records.plan import StudyPlan
from ablate.runs import store
from ablate.runs.lock import acquire_run, is_locked


@dataclass(frozen=True)
class UnusedRun:
    """A run folder that could be deleted."""

    folder: Path
    state: store.State
    bytes: int


def find_unused_runs(
    plans: Iterable[StudyPlan],
    runs: Path,
    *,
    done: bool = False,
    besides: Iterable[Path] = (),
) -> list[UnusedRun]:
    """Lists the run folders that no plan names, without those that are running.

    Folders of runs that are done are listed only if `done`; those in `besides` are not listed.
    """
    needed = {*besides, *(folder.absolute() for folder in besides)}
    for plan in plans:
        needed.update(store.list_run_folders(plan, runs))
    unused = []
    for config in sorted(runs.glob("*/config.json")):
        folder = config.parent
        if folder in needed or folder.absolute() in needed:
            continue
        state = store.read_status(folder).state
        if not (state == "running" and is_locked(folder)) and (done or state != "done"):
            unused.append(UnusedRun(folder, state, _count_bytes(folder)))
    return unused


def delete_runs(unused: Sequence[UnusedRun]) -> list[Path]:
    """Deletes run folders; returns those that are kept because a process works on them now."""
    kept = []
    for run in unused:
        with acquire_run(run.folder) as acquired:
            if acquired:
                shutil.rmtree(run.folder)
            else:
                kept.append(run.folder)
    return kept


def format_bytes(count: float) -> str:
    """Formats a number of bytes in decimal units: `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
