"""Checks that this machine can run a study: a worker starts, and folders can be written."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ablate.core.records.messages import (
    AttentionRequest,
)
from ablate.executors.worker import COMMAND, Worker, WorkerDiedError
from ablate.runs.store import Folders

MIN_FREE_BYTES = 1e9


def check_machine(folders: Folders, print_line: Callable[[str], None]) -> int:
    """Prints what works and what does not; returns the exit code, 0 if all is well.

    Starts a worker, prints which attention kernels can serve, and checks that each folder is
    writable and has a gigabyte free.
    """
    is_fine = _check_worker(print_line)
    for name in ("runs", "reports", "cache"):
        is_fine = _check_folder(name, getattr(folders, name), print_line) and is_fine
    return 0 if is_fine else 1


def _check_worker(print_line: Callable[[str], None]) -> bool:
    worker = Worker(COMMAND)
    try:
        ready = worker.ready()
        attention = worker.request(AttentionRequest())
    except WorkerDiedError as error:
        print_line(f"error: `python -m ablate.worker` does not start: {error}")
        return False
    finally:
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()
    print_line(f"a worker starts: torch {ready.torch}, {ready.gpus} GPUs")
    for line in attention.lines:
        print_line(line)
    return True


def _check_folder(name: str, folder: Path, print_line: Callable[[str], None]) -> bool:
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=parent):
            free = shutil.disk_usage(parent).free
    except OSError as error:
        print_line(f"error: cannot write {name} in {parent}: {error.strerror}")
        return False
    begin = "error: only " if free < MIN_FREE_BYTES else ""
    print_line(f"{begin}{free / 1e9:.1f} GB free for {name} in {folder}")
    return free >= MIN_FREE_BYTES
