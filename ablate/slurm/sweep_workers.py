"""Submits the workers of a sweep to a cluster, and runs one as the task of an array.

A worker is the study's own command with an option to only evaluate points. If it reaches its time
limit, or is preempted, it returns its point and requeues its job.
"""

import argparse
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.io import write_atomically
from ablate.core.records.sweep import SweepJob, SweepWorkers
from ablate.slurm import code_snapshot, commands, sbatch, submissions
from ablate.slurm import queue as slurm_queue
from ablate.slurm.job import REQUEUE_SIGNALS, requeue
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob

MODULE = "ablate.slurm.sweep_workers"
SUBFOLDER = "slurm/sweep"  # in the folder of a study's report
WORKERS_FILE = "workers.json"  # the array that was submitted last


def get_folder(reports: Path, study: str) -> Path:
    """Returns the folder of a study's sweep workers."""
    return reports / study / SUBFOLDER


def find_studies(reports: Path) -> list[str]:
    """Returns the names of the studies that have submitted sweep workers."""
    files = reports.glob(f"*/{SUBFOLDER}/{WORKERS_FILE}")
    return sorted(path.relative_to(reports).parts[0] for path in files)


def format_sbatch(profile: Profile, folder: Path, name: str, count: int) -> str:
    """Returns the sbatch script that `submit_workers` would submit for `count` workers."""
    spec = folder.absolute() / "SUBMISSION" / WORKERS_FILE
    return _format_script(profile, spec, name, count)


def _format_script(profile: Profile, spec: Path, name: str, count: int) -> str:
    code = spec.parent / "code"
    return sbatch.format_script(profile, spec, name=name, code=code, count=count, module=MODULE)


def submit_workers(
    profile: Profile,
    folder: Path,
    name: str,
    command: Sequence[str],
    count: int,
    settings: Mapping[str, Any],
) -> list[SubmittedJob]:
    """Submits workers, unless some are in the queue.

    Args:
        profile: the resources of a worker.
        folder: folder of the study's sweep workers.
        name: name of the job, made unique here.
        command: arguments of `python` that start a worker.
        count: number of workers.
        settings: settings whose parts are imported; their code is copied.

    Returns:
        The workers in the queue.

    Raises:
        SlurmError: none was submitted.
    """
    with slurm_queue.submission_lock(folder):
        if present := find_queued_workers(folder):
            return present
        home = folder.absolute() / secrets.token_hex(4)
        (home / "logs").mkdir(parents=True)
        spec = home / WORKERS_FILE
        SweepJob(command=list(command), max_requeues=profile.max_requeues).write(spec)
        code_snapshot.copy_code([settings], home / "code")
        unique = f"{name}-{home.name}"
        script = spec.with_suffix(".sbatch")
        write_atomically(script, _format_script(profile, spec, unique, count), private=True)
        workers = SweepWorkers(number="", name=unique, count=count, logs=str(home / "logs"))
        previous = SweepWorkers.find(folder / WORKERS_FILE)
        try:
            commands.check_submission(script)
            workers.write(folder / WORKERS_FILE)  # before the first job exists
            workers = replace(workers, number=commands.submit(script))
        except BaseException:
            _undo(workers, previous, folder)
            shutil.rmtree(home, ignore_errors=True)
            raise
        workers.write(folder / WORKERS_FILE)
    return _list_jobs(workers)


def find_queued_workers(folder: Path) -> list[SubmittedJob]:
    """Returns the workers that are in the queue. Raises `SlurmError` if squeue fails."""
    jobs = _find_last_workers(folder)
    states = slurm_queue.query_states(jobs)
    return [job for job in jobs if job.job_id in states]


def may_be_queued(folder: Path) -> bool:
    """Returns whether any worker is or may be in the queue, see `queue.may_be_queued`."""
    try:
        return slurm_queue.may_be_queued(_find_last_workers(folder))
    except commands.SlurmMissingError:
        return False
    except commands.SlurmError:
        return True


def describe_queue(folder: Path) -> list[str]:
    """Returns a line for each queued worker with its state; [] if SLURM is not installed."""
    try:
        states = slurm_queue.query_states(_find_last_workers(folder))
    except commands.SlurmMissingError:
        return []
    except commands.SlurmError as error:
        return [f"cannot query the queue: {error}"]
    return [
        f"  sweep worker  job {job_id}  {state.state} {state.reason}".rstrip()
        for job_id, state in states.items()
    ]


def get_log_folder(folder: Path) -> str:
    """Returns the folder of the workers' logs."""
    workers = SweepWorkers.find(folder / WORKERS_FILE)
    return str(folder) if workers is None else workers.logs


def main() -> int:
    """Runs the command of a specification as a task of an array; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: the command, and how often to requeue")
    spec = SweepJob.read(parser.parse_args().spec)
    received: list[signal.Signals] = []
    worker: list[subprocess.Popen[bytes]] = []

    def handle_signal(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        for process in worker:
            process.terminate()  # it returns its point, and its trial saves a checkpoint

    for number in (*REQUEUE_SIGNALS, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle_signal)
    worker.append(subprocess.Popen([sys.executable, "-P", *spec.command]))
    if received:  # while the worker was being started
        worker[0].terminate()
    code = worker[0].wait()
    if received and received[0] in REQUEUE_SIGNALS and code:
        requeue(received[0], spec.max_requeues)
    return code


def _undo(workers: SweepWorkers, previous: SweepWorkers | None, folder: Path) -> None:
    """Cancels workers whose submission failed after SLURM had taken it, and forgets them."""
    with suppress(commands.SlurmError):
        slurm_queue.try_scancel(submissions.query_numbers([workers.name]).values())
    if previous is None:
        (folder / WORKERS_FILE).unlink(missing_ok=True)
    else:
        previous.write(folder / WORKERS_FILE)


def _find_last_workers(folder: Path) -> list[SubmittedJob]:
    """Returns the workers that were submitted last; after a crash, squeue knows them by name.

    Raises `SlurmError` if it is needed and fails.
    """
    workers = SweepWorkers.find(folder / WORKERS_FILE)
    if workers is not None and not workers.number:
        numbers = submissions.query_numbers([workers.name])
        workers = replace(workers, number=numbers[workers.name]) if numbers else None
    return [] if workers is None else _list_jobs(workers)


def _list_jobs(workers: SweepWorkers) -> list[SubmittedJob]:
    number = workers.number
    return [
        SubmittedJob(f"{number}_{task}", workers.name, f"{workers.logs}/{number}_{task}_0_log.out")
        for task in range(workers.count)
    ]


if __name__ == "__main__":
    sys.exit(main())
