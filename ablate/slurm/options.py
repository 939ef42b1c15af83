"""Where a study's runs go: to the pool on this machine, or to a cluster that the user names."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.config.study import Study, StudyError
from ablate.runs.job import RunJob
from ablate.runs.store import Folders
from ablate.slurm import resources
from ablate.slurm.executor import Cluster


@dataclass(frozen=True)
class Asked:
    """What the command line says of a cluster."""

    name: str | None = None  # of a profile; the study's own `slurm:` where it is None
    watch: bool = False  # follow the jobs to their ends
    dry_run: bool = False  # show what sbatch would be handed, and submit nothing
    sweep_only: bool = False  # take points of the sweep until there are none, and no more


HERE = Asked()


def cluster(study: Study, asked: Asked, folders: Folders) -> Cluster | None:
    """Returns the cluster that a study goes to; None for this machine.

    Raises as `of_study`, and `StudyError` where only a cluster can do what is asked.
    """
    found = resources.of_study(study, asked.name)
    if found is None and (asked.dry_run or asked.watch):
        flag = "--dry-run" if asked.dry_run else "--watch"
        way_out = "name it, --slurm NAME; `ablate plan` shows what would run here"
        raise StudyError([f"{flag} is for a cluster: {way_out}"])
    if found is None or asked.sweep_only:  # a job of the cluster is a machine like any other
        return None
    return Cluster(found, folders.reports / study.name / "slurm", folders.cache, study=study.name)


def hand_over(site: Cluster, jobs: Sequence[RunJob], asked: Asked) -> list[str]:
    """Submits jobs, or shows how they would be; returns the lines to print. Raises as `submit`."""
    if not jobs:
        return ["nothing left to run"]
    if asked.dry_run:
        return [site.text(jobs)]
    return [
        *site.submit(jobs).describe(),
        "to see them: ablate status; with --watch to follow them",
    ]
