"""Records each submission before sbatch is called, so that a crash leaves no unknown job.

`submission.json` in the folder of a submission lists its arrays with their unique names. An array
whose number is missing was interrupted; squeue finds it by its name.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ablate.core.io import DamagedFileError
from ablate.core.records.jobs import SubmissionFile, SubmittedArray
from ablate.slurm import commands
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import SlurmError
from ablate.slurm.queue import SubmittedJob

logger = logging.getLogger(__name__)
SUBMISSION_FILE = "submission.json"


def get_folder(reports: Path, study: str) -> Path:
    """Returns the folder of a study's submissions."""
    return reports / study / "slurm"


def write_arrays(home: Path, arrays: Sequence[SubmittedArray]) -> None:
    """Writes the arrays of the submission in the folder `home`."""
    SubmissionFile(arrays=list(arrays)).write(home / SUBMISSION_FILE)


def record_jobs(home: Path, array: SubmittedArray) -> None:
    """Records an array that has a number in the run folders of its tasks."""
    for task, pack in enumerate(array.packs):
        job = f"{array.number}_{task}"
        log = home / "logs" / f"{job}_0_log.out"
        for folder in map(Path, pack):
            submitted = SubmittedJob(job, array.name, str(log), array.canary)
            if folder.is_dir():
                slurm_queue.record_job(folder, submitted)


def list_runs(folder: Path) -> list[Path]:
    """Returns the run folders of all submissions of a study, each once."""
    arrays = (array for _, content in _list_submissions(folder) for array in content.arrays)
    packs = (pack for array in arrays for pack in array.packs)
    return list(dict.fromkeys(Path(run) for pack in packs for run in pack))


def try_recover_jobs(folder: Path) -> None:
    """Recovers jobs as `recover_jobs` does, unless another process is submitting right now."""
    if any(_list_unnumbered(content) for _, content in _list_submissions(folder)):
        with slurm_queue.submission_lock(folder, timeout=0) as is_locked:
            if is_locked:
                recover_jobs(folder)


def recover_jobs(folder: Path) -> None:
    """Finds arrays that were submitted just before a crash, and records their jobs.

    The caller holds the submission lock. Raises `SlurmError` if squeue fails.
    """
    for home, content in _list_submissions(folder):
        numbers = query_numbers(array.name for array in _list_unnumbered(content))
        if not numbers:
            continue
        arrays = [replace(a, number=a.number or numbers.get(a.name, "")) for a in content.arrays]
        for old, new in zip(content.arrays, arrays, strict=True):
            if old != new:
                record_jobs(home, new)
        write_arrays(home, arrays)


def cancel_submission(home: Path, numbers: Iterable[str]) -> None:
    """Cancels the jobs with these numbers, and those that squeue knows by the submission's names.

    Logs a warning for each that cannot be cancelled.
    """
    content = SubmissionFile.find(home / SUBMISSION_FILE)
    names = [name for a in content.arrays for name in (a.canary_name, a.name)] if content else []
    unknown: dict[str, str] = {}
    with suppress(SlurmError):
        unknown = query_numbers(name for name in names if name)
    slurm_queue.try_scancel(dict.fromkeys([*numbers, *unknown.values()]))


def find_queued_canaries(folder: Path) -> list[SubmittedJob]:
    """Returns the canary jobs of a study that are in the queue. Raises `SlurmError`."""
    names = {
        array.canary_name
        for _, content in _list_submissions(folder)
        for array in content.arrays
        if array.canary_name
    }
    return [SubmittedJob(job_id, name, "") for name, job_id in query_numbers(names).items()]


def _list_submissions(folder: Path) -> list[tuple[Path, SubmissionFile]]:
    submissions = []
    for file in sorted(folder.glob(f"*/{SUBMISSION_FILE}")):
        try:
            submissions.append((file.parent, SubmissionFile.read(file)))
        except DamagedFileError as error:
            problem = f"{file} {error.problem}"
            logger.warning("%s; its jobs are known only from the run folders", problem)
    return submissions


def _list_unnumbered(content: SubmissionFile) -> list[SubmittedArray]:
    return [array for array in content.arrays if not array.number]


def query_numbers(names: Iterable[str]) -> dict[str, str]:
    """Returns the numbers of the jobs in the queue that have these names."""
    wanted, numbers = sorted(set(names)), dict[str, str]()
    for start in range(0, len(wanted), slurm_queue.BATCH_SIZE):
        batch = wanted[start : start + slurm_queue.BATCH_SIZE]
        command = ["squeue", "-h", "-r", "--name", ",".join(batch), "-o", "%i|%j"]
        for line in commands.run_command(command).splitlines():
            job_id, name = [*line.split("|"), ""][:2]
            if name in batch:
                numbers[name] = job_id.partition("_")[0]
    return numbers
