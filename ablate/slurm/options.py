"""Command-line options of a study that runs on a SLURM cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.config.study import Study, StudyError
from ablate.runs.job import RunJob
from ablate.runs.store import Folders
from ablate.slurm import resources
from ablate.slurm.executor import Cluster


@dataclass(frozen=True)
class SlurmOptions:
    """What the command line says about SLURM."""

    profile: str | None = None  # name or path; the study's own `slurm:` if None
    watch: bool = False  # wait for the jobs to end
    dry_run: bool = False  # show the sbatch scripts, but submit nothing
    sweep_only: bool = False  # evaluate points of the sweep until none is left, and stop


LOCAL = SlurmOptions()


def create_cluster(study: Study, options: SlurmOptions, folders: Folders) -> Cluster | None:
    """Returns the cluster on which a study runs; None for this machine.

    Raises `StudyError` as `load_resources`, and if an option needs a cluster but none is named.
    """
    needed = resources.load_resources(study, options.profile)
    if needed is None and (options.dry_run or options.watch):
        flag = "--dry-run" if options.dry_run else "--watch"
        remedy = "name it, --slurm NAME; `ablate plan` shows what would run here"
        raise StudyError([f"{flag} is for a cluster: {remedy}"])
    if needed is None or options.sweep_only:  # a sweep worker in a job runs its points locally
        return None
    folder = folders.reports / study.name / "slurm"
    return Cluster(needed, folder, folders.cache, study=study.name)


def submit_jobs(cluster: Cluster, jobs: Sequence[RunJob], options: SlurmOptions) -> list[str]:
    """Submits jobs, or formats their sbatch scripts in a dry run; returns lines to print.

    Raises as `Cluster.submit`.
    """
    if not jobs:
        return ["nothing left to run"]
    if options.dry_run:
        return [cluster.format_sbatch(jobs)]
    return [
        *cluster.submit(jobs).describe(),
        "to see them: ablate status; with --watch to follow them",
    ]
