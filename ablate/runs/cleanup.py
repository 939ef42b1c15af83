"""Run folders that no study refers to, and their end."""

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
    """Lists the run folders that no plan names, but those that are running, and `besides`.

    Those that are done are listed only if `done`.
    """
    wanted = {folder for plan in plans for folder in store.run_folders(plan, runs)} | {*besides}
    found = []
    for config in sorted(runs.glob("*/config.json")):
        folder = config.parent
        if folder in wanted:
            continue
        state = store.read_status(folder).state
        if not (state == "running" and is_locked(folder)) and (done or state != "done"):
            found.append(UnusedRun(folder, state, _bytes(folder)))
    return found


def delete_runs(found: Sequence[UnusedRun]) -> list[Path]:
    """Deletes run folders; returns those that are kept, as somebody has begun to run them since."""
    kept = []
    for one in found:
        with acquire_run(one.folder) as mine:
            if mine:
                shutil.rmtree(one.folder)
            else:
                kept.append(one.folder)
    return kept


def format_bytes(count: float) -> str:
    """Writes a number of bytes for people, in steps of 1000: `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
