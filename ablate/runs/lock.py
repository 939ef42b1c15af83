"""Who runs a run folder: one process at a time, on any machine that shares the disk.

A lock tells it on one machine, and on network disks that pass locks on. Where they do not, the
folder's heartbeat does: a count that is seen to change is alive, whatever its file's time.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LOCK = ".held"
PATIENCE_SECONDS = 90.0  # for a heartbeat of another machine; a training beats far more often
LOOK_SECONDS = 0.2
GLANCE_SECONDS = 1.0  # for those that only look who holds a run: each has its lock for an instant


def never() -> bool:
    """Says of a process that it has not been told to stop."""
    return False


@contextmanager
def acquire_run(
    folder: Path, *, patience: float = PATIENCE_SECONDS, stopped: Callable[[], bool] = never
) -> Iterator[bool]:
    """Holds a run for this process while inside; gives False where another one holds it.

    A run that another machine was running counts as dead once its heartbeat has stood still for
    `patience` seconds, which this waits for: until then, and where `stopped` comes to tell that
    this process is to end, another one has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=GLANCE_SECONDS)
    except Timeout:
        yield False
        return
    try:
        yield not _beats_elsewhere(folder, patience, stopped)
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Tells whether some process on this machine holds the run now."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def is_local(record: Mapping[str, Any]) -> bool:
    """Tells whether a run's record, the content of `run.json`, is of an attempt on this machine."""
    here = socket.gethostname()
    return bool(record.get("host", here) == here)


def _beats_elsewhere(folder: Path, patience: float, stopped: Callable[[], bool]) -> bool:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if is_local(record) or record.get("state") != "running":
        return False
    first, deadline = read_heartbeat(folder), time.monotonic() + patience
    while time.monotonic() < deadline:
        if read_heartbeat(folder) != first or stopped():
            return True
        time.sleep(LOOK_SECONDS)
    return False


def read_heartbeat(folder: Path) -> str:
    """Returns a run's heartbeat, a count; an empty text before its first."""
    try:
        return (folder / "heartbeat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
