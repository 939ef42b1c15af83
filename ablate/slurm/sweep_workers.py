"""Workers of a sweep on a cluster: tasks of one array, which join and leave.

A worker is the study's own command, told to take points and nothing else. One that meets its time
limit, or is preempted, gives its point back and queues itself again.
"""

import argparse
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.core.records.sweep import SweepJob, SweepWorkers
from ablate.slurm import code_snapshot, commands, sbatch
from ablate.slurm import queue as slurm_queue
from ablate.slurm.job import AGAIN, requeue
from ablate.slurm.profile import Profile
from ablate.slurm.queue import Submitted

MODULE = "ablate.slurm.sweep_workers"
PLACE = "slurm/sweep"  # of their submissions, in the folder of a study's report
RECORD = "workers.json"  # the array that was submitted last


def folder_of(reports: Path, study: str) -> Path:
    """Names the folder of a study's workers."""
    return reports / study / PLACE


def studies(reports: Path) -> list[str]:
    """Names the studies that have had workers queued."""
    found = reports.glob(f"*/{PLACE}/{RECORD}")
    return sorted(path.relative_to(reports).parts[0] for path in found)


def text(profile: Profile, folder: Path, name: str, count: int) -> str:
    """Returns what `enlist` would hand to sbatch for an array of `count` workers."""
    spec = folder.absolute() / "SUBMISSION" / RECORD
    return sbatch.text(profile, spec, name=name, code=spec.parent / "code", count=count, of=MODULE)


def enlist(
    profile: Profile,
    folder: Path,
    name: str,
    command: Sequence[str],
    count: int,
    settings: Mapping[str, Any],
) -> list[Submitted]:
    """Queues `count` workers, unless some are there; returns those in the queue.

    `command` is what a worker runs, `python` apart; `settings` name the parts whose code goes
    along. Raises `RefusedError`, queueing none.
    """
    with slurm_queue.alone(folder):
        if present := crew(folder):
            return present
        home = folder.absolute() / secrets.token_hex(4)
        (home / "logs").mkdir(parents=True)
        spec = home / RECORD
        SweepJob(command=list(command), max_requeues=profile.max_requeues).write(spec)
        code = code_snapshot.take([settings], home / "code")
        unique = f"{name}-{home.name}"
        file = spec.with_suffix(".sbatch")
        file.write_text(sbatch.text(profile, spec, name=unique, code=code, count=count, of=MODULE))
        try:
            commands.rehearse(file)
            number = commands.submit(file)
        except BaseException:
            shutil.rmtree(home, ignore_errors=True)
            raise
        workers = SweepWorkers(number=number, name=unique, count=count, logs=str(home / "logs"))
        workers.write(folder / RECORD)
    return _tasks(workers)


def crew(folder: Path) -> list[Submitted]:
    """Returns the workers that are in the queue. Raises `RefusedError` where nobody answers."""
    tasks = _last(folder)
    places = slurm_queue.places(tasks)
    return [task for task in tasks if task.job in places]


def may_be_queued(folder: Path) -> bool:
    """Tells whether some worker is in the queue, or may be, as `queueing.may_hold`."""
    return slurm_queue.may_hold(_last(folder))


def queue(folder: Path) -> list[str]:
    """Says which workers are in the queue, and why they wait; nothing where there is no site."""
    try:
        places = slurm_queue.places(_last(folder))
    except commands.NoSiteError:
        return []
    except commands.RefusedError as error:
        return [f"cannot ask the queue: {error}"]
    return [
        f"  a sweep's worker  job {job}  {place.state} {place.reason}".rstrip()
        for job, place in places.items()
    ]


def logs(folder: Path) -> str:
    """Returns the folder of the workers' logs."""
    workers = SweepWorkers.find(folder / RECORD)
    return str(folder) if workers is None else workers.logs


def main() -> int:
    """Runs the command of a spec, as a task of an array; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: the command, and how often to queue again")
    spec = SweepJob.read(parser.parse_args().spec)
    told: list[signal.Signals] = []
    worker: list[subprocess.Popen[bytes]] = []

    def hear(number: int, frame: object) -> None:
        told.append(signal.Signals(number))
        for process in worker:
            process.terminate()  # it gives its point back, and its trial saves itself

    for number in (*AGAIN, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    worker.append(subprocess.Popen([sys.executable, "-P", *spec.command]))
    if told:  # while it was being started
        worker[0].terminate()
    code = worker[0].wait()
    if told and told[0] in AGAIN and code:
        requeue(told[0], spec.max_requeues)
    return code


def _last(folder: Path) -> list[Submitted]:
    workers = SweepWorkers.find(folder / RECORD)
    return [] if workers is None else _tasks(workers)


def _tasks(workers: SweepWorkers) -> list[Submitted]:
    number = workers.number
    return [
        Submitted(f"{number}_{task}", workers.name, f"{workers.logs}/{number}_{task}_0_log.out")
        for task in range(workers.count)
    ]


if __name__ == "__main__":
    sys.exit(main())
