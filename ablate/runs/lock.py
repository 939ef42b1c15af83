"""Locks run folders: one process at a time, on all machines that share the disk.

A file lock excludes processes of one machine, and of others if the network disk supports locks.
If it does not, the heartbeat of the run shows whether another machine works on it.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from filelock import FileLock, Timeout

from ablate.core.records.run import RunRecord
from ablate.runs.heartbeat import HeartbeatMonitor, read_heartbeat
from ablate.runs.record import read_record

LOCK_FILE = ".lock"
PATIENCE_SECONDS = 90.0  # for a heartbeat of another machine; its counter rises far more often
POLL_SECONDS = 0.2
LOCK_SECONDS = 1.0  # long enough for a process that only tests the lock to release it


def never() -> bool:
    """Returns False; the default for a process that cannot be asked to stop."""
    return False


@contextmanager
def acquire_run(
    folder: Path, *, patience: float = PATIENCE_SECONDS, stopped: Callable[[], bool] = never
) -> Iterator[bool]:
    """Locks a run for this process while inside the block; yields whether it could.

    A run that another machine was running counts as dead once its heartbeat has not changed for
    `patience` seconds, which this waits for. If `stopped` returns True meanwhile, the run counts
    as alive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        yield False
        return
    try:
        yield not _is_alive_elsewhere(folder, patience, stopped)
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Returns whether a process, of this machine at least, works on the run now.

    Writes nothing, so that the runs of a colleague or of an archive can be read. A lock file that
    this user may not even read counts as locked.
    """
    try:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # conflicts with `FileLock`
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


def is_local(record: RunRecord) -> bool:
    """Returns whether the last attempt at a run was made on this machine."""
    return record.host is None or record.host == gethostname()


def _is_alive_elsewhere(folder: Path, patience: float, stopped: Callable[[], bool]) -> bool:
    try:
        record = read_record(folder)
    except ValueError:
        return False  # whoever reads the state of the run reports the damage
    if is_local(record) or record.state != "running":
        return False
    monitor, deadline = HeartbeatMonitor(), time.monotonic() + patience
    monitor.update(folder, read_heartbeat(folder))
    while time.monotonic() < deadline:
        if monitor.update(folder, read_heartbeat(folder)) or stopped():
            return True
        time.sleep(POLL_SECONDS)
    return False
