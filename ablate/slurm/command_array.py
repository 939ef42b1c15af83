"""Submits an array of jobs that each run a command on a snapshot of a study, and runs one of them.

The workers of a sweep are such an array, and so are the jobs that decode clips. A command that
reaches its time limit, or is preempted, is stopped, and its job is requeued.
"""

import argparse
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ablate.config.snapshot import StudySnapshot
from ablate.core.io import write_atomically
from ablate.core.records.jobs import CommandArray, CommandJob
from ablate.slurm import code_snapshot, commands, history, sbatch, submissions
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError, SlurmMissingError
from ablate.slurm.profile import Profile
from ablate.slurm.queue import SubmittedJob
from ablate.slurm.requeue import REQUEUE_SIGNALS, requeue

MODULE = "ablate.slurm.command_array"
COMMAND_MODULE = "ablate.study.job"  # that a job runs
ARRAY_FILE = "array.json"  # the array that was submitted last
COMMAND_FILE = "command.json"  # what each job of a submission runs
SNAPSHOT_FILE = "study.json"
# folder below that of a study's submissions -> what one of its jobs is called
KINDS = {"sweep": "sweep worker", "decode": "decoding job", "join": "joining job"}


def get_folder(reports: Path, study: str, kind: str) -> Path:
    """Returns the folder of a study's arrays of one of `KINDS`."""
    return submissions.get_folder(reports, study) / kind


def find_studies(reports: Path) -> list[str]:
    """Returns the names of the studies that have submitted such arrays."""
    files = [file for kind in KINDS for file in reports.glob(f"*/slurm/{kind}/{ARRAY_FILE}")]
    return sorted({path.relative_to(reports).parts[0] for path in files})


def format_sbatch(profile: Profile, folder: Path, name: str, count: int, *, after: str = "") -> str:
    """Returns the sbatch script that `submit_array` would submit for `count` jobs."""
    spec = folder.absolute() / "SUBMISSION" / COMMAND_FILE
    return _format_script(profile, spec, name, count, after)


def _format_script(profile: Profile, spec: Path, name: str, count: int, after: str) -> str:
    code = spec.parent / "code"
    return sbatch.format_script(
        profile, spec, name=name, code=code, count=count, after_any=after, module=MODULE
    )


def submit_array(
    profile: Profile,
    folder: Path,
    name: str,
    snapshot: StudySnapshot,
    arguments: Sequence[str],
    count: int,
    *,
    after: str = "",
    may_join: bool = True,
) -> list[SubmittedJob]:
    """Submits an array, unless jobs of the one before are in the queue.

    Its jobs run `python -m ablate.study.job SNAPSHOT ARGUMENTS`, with a copy of the code and of the
    study: later edits change nothing in the queue.

    Args:
        profile: the resources of a job.
        folder: folder of such arrays of the study.
        name: name of the job, made unique here.
        snapshot: the study.
        arguments: arguments of the command, after the file of the snapshot.
        count: number of jobs.
        after: number of a job that must have ended first, in whatever way.
        may_join: whether jobs that another process has submitted may be returned. If not, the
            caller owns those that are returned, and may cancel them.

    Returns:
        The jobs in the queue.

    Raises:
        SlurmError: none was submitted.
    """
    with slurm_queue.submission_lock(folder):
        if present := find_queued(folder):
            if may_join:
                return present
            raise SlurmError(f"job {present[0].number} has been submitted by another process")
        home = folder.absolute() / secrets.token_hex(4)
        (home / "logs").mkdir(parents=True)
        spec = home / COMMAND_FILE
        study = home / SNAPSHOT_FILE
        command = ["-m", COMMAND_MODULE, str(study), *arguments]
        CommandJob(command=command, max_requeues=profile.max_requeues).write(spec)
        snapshot.write(study, private=True)
        code_snapshot.copy_code([{"settings": snapshot.settings}], home / "code")
        unique = f"{name}-{home.name}"
        script = spec.with_suffix(".sbatch")
        text = _format_script(profile, spec, unique, count, after)
        write_atomically(script, text, private=True)
        array = CommandArray(number="", name=unique, count=count, logs=str(home / "logs"))
        previous = CommandArray.find(folder / ARRAY_FILE)
        try:
            commands.check_submission(script)
            array.write(folder / ARRAY_FILE)  # before the first job exists
            array = replace(array, number=commands.submit(script))
            array.write(folder / ARRAY_FILE)
        except BaseException:
            _undo(array, previous, folder)
            shutil.rmtree(home, ignore_errors=True)
            raise
    return _list_jobs(array)


def find_queued(folder: Path) -> list[SubmittedJob]:
    """Returns the jobs that are in the queue, as far as squeue shows it, see `history.find_gone`.

    Raises `SlurmError` if squeue fails.
    """
    jobs = _find_last_jobs(folder)
    gone = history.find_gone(jobs) if jobs else {}
    return [job for job in jobs if job.job_id not in gone]


def may_be_queued(folder: Path) -> bool:
    """Returns whether any job is or may be in the queue, see `queue.may_be_queued`."""
    try:
        return slurm_queue.may_be_queued(_find_last_jobs(folder))
    except SlurmMissingError:
        return False
    except SlurmError:
        return True


def find_all_queued(reports: Path, study: str) -> dict[str, list[SubmittedJob]]:
    """Returns the jobs in the queue by what they are called, see `KINDS`. Raises `SlurmError`."""
    return {title: find_queued(get_folder(reports, study, kind)) for kind, title in KINDS.items()}


def describe_queue(reports: Path, study: str) -> list[str]:
    """Returns a line for each queued job with its state; [] if SLURM is not installed."""
    lines = []
    for kind, title in KINDS.items():
        try:
            states = slurm_queue.query_states(_find_last_jobs(get_folder(reports, study, kind)))
        except SlurmMissingError:
            return []
        except SlurmError as error:
            return [f"cannot query the queue: {error}"]
        lines += [
            f"  {title}  job {job_id}  {state.state} {state.reason}".rstrip()
            for job_id, state in states.items()
        ]
    return lines


def describe_jobs(reports: Path, study: str) -> list[str]:
    """Returns what is known of a study that has no plan yet, with a line for each queued job."""
    queue = describe_queue(reports, study)
    if not commands.is_installed("squeue"):
        state = "its jobs were submitted to a cluster, whose queue is shown on a login node"
    elif queue:
        state = "its jobs run on a cluster; when they have ended, run the study again"
    else:
        folders = (get_folder(reports, study, kind) for kind in KINDS)
        logs = ", ".join(get_log_folder(f) for f in folders if (f / ARRAY_FILE).exists())
        state = f"squeue lists none of its jobs; to go on, run the study again; their logs: {logs}"
    return [f"{study}: {state}", *queue]


def get_log_folder(folder: Path) -> str:
    """Returns the folder of the jobs' logs."""
    array = CommandArray.find(folder / ARRAY_FILE)
    return str(folder) if array is None else array.logs


def main() -> int:
    """Runs the command of a specification as a task of an array; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: the command, and how often to requeue")
    spec = CommandJob.read(parser.parse_args().spec)
    received: list[signal.Signals] = []
    processes: list[subprocess.Popen[bytes]] = []

    def handle_signal(number: int, frame: object) -> None:
        received.append(signal.Signals(number))
        for process in processes:
            process.terminate()  # a sweep returns its point, and its trial saves a checkpoint

    for number in (*REQUEUE_SIGNALS, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle_signal)
    processes.append(subprocess.Popen([sys.executable, "-P", *spec.command]))
    if received:  # while the process was being started
        processes[0].terminate()
    code = processes[0].wait()
    if received and received[0] in REQUEUE_SIGNALS and code:
        requeue(received[0], spec.max_requeues)
    return code


def _undo(array: CommandArray, previous: CommandArray | None, folder: Path) -> None:
    """Cancels jobs whose submission failed after SLURM had taken it, and forgets them."""
    with suppress(SlurmError):
        slurm_queue.try_scancel(submissions.query_numbers([array.name]).values())
    if previous is None:
        (folder / ARRAY_FILE).unlink(missing_ok=True)
    else:
        previous.write(folder / ARRAY_FILE)


def _find_last_jobs(folder: Path) -> list[SubmittedJob]:
    """Returns the jobs that were submitted last; after a crash, squeue knows them by name.

    Raises `SlurmError` if it is needed and fails.
    """
    array = CommandArray.find(folder / ARRAY_FILE)
    if array is not None and not array.number:
        numbers = submissions.query_numbers([array.name])
        array = replace(array, number=numbers[array.name]) if numbers else None
    return [] if array is None else _list_jobs(array)


def _list_jobs(array: CommandArray) -> list[SubmittedJob]:
    number = array.number
    return [
        SubmittedJob(f"{number}_{task}", array.name, f"{array.logs}/{number}_{task}_0_log.out")
        for task in range(array.count)
    ]


if __name__ == "__main__":
    sys.exit(main())
