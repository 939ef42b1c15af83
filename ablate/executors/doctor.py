"""What is wrong with this machine: found out by one worker, before a study meets it."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ablate.executors.worker import COMMAND, Worker, WorkerDiedError
from ablate.runs.store import Folders

ROOM = 1e9  # bytes, below which a disk is worth a word


def check_machine(folders: Folders, say: Callable[[str], None]) -> int:
    """Says what works and what does not; returns the exit code, 0 where all is well.

    Tries a worker, and whether each folder can be written and has a gigabyte left.
    """
    good = _try_worker(say)
    for name in ("runs", "reports", "cache"):
        good = _try_folder(name, getattr(folders, name), say) and good
    return 0 if good else 1


def _try_worker(say: Callable[[str], None]) -> bool:
    worker = Worker(COMMAND)
    try:
        found = worker.ready()
    except WorkerDiedError as error:
        say(f"error: `python -m ablate.worker` does not start: {error}")
        return False
    finally:
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()
    say(f"a worker starts: torch {found['torch']}, {found['gpus']} GPUs")
    return True


def _try_folder(name: str, folder: Path, say: Callable[[str], None]) -> bool:
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        say(f"error: cannot write {name} in {there}: {error.strerror}")
        return False
    word = "error: only " if free < ROOM else ""
    say(f"{word}{free / 1e9:.1f} GB free for {name} in {folder}")
    return free >= ROOM
