"""Checks this machine, that a worker trains and folders can be written, and a store of runs."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ablate.core.cpu_features import has_bf16
from ablate.core.records.messages import AttentionRequest, CheckRunsRequest
from ablate.executors.determinism import describe_determinism
from ablate.executors.worker import COMMAND, OnProgress, Worker, WorkerDiedError
from ablate.runs.store import Folders

MIN_FREE_BYTES = 1e9


def check_machine(folders: Folders, print_line: Callable[[str], None]) -> int:
    """Prints what works and what does not; returns the exit code, 0 if all is well.

    Starts a worker, prints which attention kernels can serve, trains a small trial twice, and
    checks that each folder is writable and has a gigabyte free.
    """
    is_fine = _check_worker(print_line)
    for name in ("runs", "reports", "cache"):
        is_fine = _check_folder(name, getattr(folders, name), print_line) and is_fine
    return 0 if is_fine else 1


def check_runs(runs: Path, print_line: Callable[[str], None], on_progress: OnProgress) -> int:
    """Prints each damaged file of a store of runs; returns the exit code, 0 if there is none."""
    with _start_worker(COMMAND) as worker:
        try:
            reply = worker.request(CheckRunsRequest(runs=runs), on_progress)
        except WorkerDiedError as error:
            print_line(f"error: {error}")
            return 1
    for problem in reply.problems:
        print_line(f"error: {problem}")
    if reply.problems:
        print_line("the next `ablate run` rebuilds what is damaged, or computes it again")
    print_line(f"{reply.num_runs} runs in {runs}, {len(reply.problems)} damaged files")
    return 1 if reply.problems else 0


def _check_worker(print_line: Callable[[str], None]) -> bool:
    with TemporaryDirectory() as cache, _start_worker((*COMMAND, "--cache", cache)) as worker:
        try:
            ready = worker.ready()
            print_line(f"a worker starts: torch {ready.torch}, {ready.gpus} GPUs")
            for line in worker.request(AttentionRequest()).lines:
                print_line(line)
            device = "cuda:0" if ready.gpus else "cpu"
            result = describe_determinism(worker, Path(cache), device)
        except WorkerDiedError as error:
            print_line(f"error: `python -m ablate.worker` does not work: {error}")
            return False
    print_line(result)
    if has_bf16():
        print_line(
            "the CPUs compute in bf16: trials that train on them are faster with "
            "`baseline.optimizer.precision: bf16` if the encoder has 128 dimensions or more"
        )
    return not result.startswith("error")


@contextmanager
def _start_worker(command: Sequence[str]) -> Iterator[Worker]:
    worker = Worker(command)
    try:
        yield worker
    finally:
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()


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
