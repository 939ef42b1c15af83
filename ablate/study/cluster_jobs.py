"""Shows, submits and cancels the jobs of a study on a cluster."""

from rich.console import Console

from ablate.executors.progress import print_line
from ablate.runs import store
from ablate.slurm import monitor
from ablate.slurm.executor import Cluster
from ablate.slurm.queue import cancel_jobs
from ablate.study import seed_rounds
from ablate.study.prepare import PreparedStudy


def show_jobs(
    prepared: PreparedStudy,
    cluster: Cluster,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> None:
    """Prints the sbatch scripts of the pending runs, and writes nothing."""
    current = seed_rounds.current_plan(prepared, folders)
    work = current.find_pending(folders.runs, retry_failed=retry_failed)
    jobs = work.jobs(folders.runs, current.plan.probes, current.plan.evaluate, write=False)
    print_line(console, cluster.format_sbatch(jobs) if jobs else "nothing left to run")


def cancel_removed(prepared: PreparedStudy, folders: store.Folders, console: Console) -> None:
    """Cancels the queued jobs of runs that are no longer in the study. Raises `SlurmError`."""
    jobs = monitor.find_removed_jobs(prepared.plan, folders)
    cancel_jobs(jobs.values())
    for folder, job in jobs.items():
        print_line(console, f"cancelled job {job.job_id}: {folder.name} is not in the study")


def submit_pending(
    current: PreparedStudy,
    cluster: Cluster,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> bool | None:
    """Submits the pending runs; if there are none, the study continues with its report.

    Returns as `seed_rounds.train`.
    """
    work = current.find_pending(folders.runs, retry_failed=retry_failed)
    jobs = work.jobs(folders.runs, current.plan.probes, current.plan.evaluate)
    if not jobs:
        return bool(work.failed)
    see = "to see them: ablate status; with --watch to follow them"
    for line in (*cluster.submit(jobs).describe(), see):
        print_line(console, line)
    return None
