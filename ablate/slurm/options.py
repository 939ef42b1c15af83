"""Command-line options of a study that runs on a SLURM cluster."""

import os
from dataclasses import dataclass

from ablate.config.study import Study, StudyError
from ablate.runs.store import Folders
from ablate.slurm import resources, submissions
from ablate.slurm.executor import Cluster


@dataclass(frozen=True)
class SlurmOptions:
    """What the command line says about SLURM."""

    profile: str | None = None  # name or path; the study's own `slurm:` if None
    watch: bool = False  # wait for the jobs to end
    dry_run: bool = False  # show the sbatch scripts, but submit nothing
    prune_removed: bool = False  # cancel queued jobs of runs that are no longer in the study
    sweep_only: bool = False  # evaluate points of the sweep until none is left, and stop


LOCAL = SlurmOptions()
VARIABLE = "ABLATE_CLUSTER"  # the profile of studies that name none


def create_cluster(study: Study, options: SlurmOptions, folders: Folders) -> Cluster | None:
    """Returns the cluster on which a study runs; None for this machine.

    Its profile is that of the command line, of the study, or of the variable ABLATE_CLUSTER.

    Raises `StudyError` as `load_resources`, and if an option needs a cluster but none is named.
    """
    default = None if study.slurm is not None else os.environ.get(VARIABLE)
    needed = resources.load_resources(study, options.profile or default or None)
    flags = {
        "--dry-run": options.dry_run,
        "--watch": options.watch,
        "--prune-removed": options.prune_removed,
    }
    flag = next((flag for flag, is_set in flags.items() if is_set), None)
    if needed is None and flag is not None:
        remedy = "name it, --slurm NAME; `ablate plan` shows what would run here"
        raise StudyError([f"{flag} is for a cluster: {remedy}"])
    if needed is None or options.sweep_only:  # a sweep worker in a job runs its points locally
        return None
    folder = submissions.get_folder(folders.reports, study.name)
    return Cluster(needed, folder, folders.cache, study=study.name)
