"""Runs that ask the same of a site: cut in arrays, each with the text that sbatch is handed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ablate.core.records.jobs import JobSpec
from ablate.core.records.run import RunConfig
from ablate.runs.job import RunJob
from ablate.runs.store import CONFIG_FILE
from ablate.slurm import canary, commands
from ablate.slurm import sbatch as slurm_sbatch
from ablate.slurm.profile import Profile
from ablate.slurm.resources import Needs

Item = TypeVar("Item")
Packs = list[list[RunJob]]  # the runs of each job


@dataclass(frozen=True)
class Group:
    """Runs that ask the same: their arrays, and the canary that these wait for."""

    profile: Profile
    home: Path  # of the whole submission
    configs: list[RunConfig]  # of the runs
    arrays: dict[Path, Packs]  # by the file that the jobs of an array read
    canary: Path | None  # the file that it reads

    def write(self, probes: Path, cache: Path) -> None:
        """Writes what the jobs read: their runs, and how these are run.

        `probes` is a file of JSON, `cache` the folder of decoded clips.
        """
        first = next(iter(self.arrays.values()))[0][0]
        spec = JobSpec(
            probes=str(probes),
            evaluate=first.evaluate,
            cache=str(cache),
            device=self.profile.device,
            step=_step(self.profile),
            max_requeues=self.profile.max_requeues,
            signal_seconds=self.profile.signal_seconds,
        )
        for file, packs in self.arrays.items():
            folders = [[str(job.folder.absolute()) for job in pack] for pack in packs]
            replace(spec, packs=folders).write(file)
        if self.canary is not None:
            canary.write_canary(self.canary, self.configs, spec)

    def text(self, file: Path, name: str, after: str = "") -> str:
        """Returns what sbatch is handed for the array, or the canary, that reads `file`.

        `after` is the number of the job that must end well before it starts.
        """
        code = self.home / "code"
        if file == self.canary:
            return slurm_sbatch.text(self.profile, file, name=canary.canary_name(name), code=code)
        count = len(self.arrays[file])
        return slurm_sbatch.text(self.profile, file, name=name, code=code, count=count, after=after)

    def sbatch(self, file: Path, name: str, after: str = "") -> Path:
        """Writes that text beside what the jobs read; returns its file."""
        text = file.with_suffix(".sbatch")
        text.write_text(self.text(file, name, after))
        return text


def grouped(jobs: Sequence[RunJob], needs: Needs, home: Path) -> list[Group]:
    """Sorts runs by what they ask; `home` is to hold all of one submission.

    Raises `StudyError` where what a run's levels ask does not go together, and `RefusedError`
    where the site does not say how large an array may be.
    """
    alike: list[tuple[Profile, list[RunJob]]] = []
    for job in jobs:
        asked = needs.of(job.levels)
        for profile, others in alike:
            if profile == asked:
                others.append(job)
                break
        else:
            alike.append((asked, [job]))
    return [_group(*found, home, f"{number:02d}") for number, found in enumerate(alike)]


def _chunks(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Cuts a list into pieces of `size`; the last one may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _group(profile: Profile, jobs: list[RunJob], home: Path, number: str) -> Group:
    size = profile.max_array or commands.max_array()
    arrays = {
        home / f"array-{number}-{index:02d}.json": packs
        for index, packs in enumerate(_chunks(_chunks(jobs, profile.trials_per_job), size))
    }
    configs = [RunConfig.read(job.folder / CONFIG_FILE) for job in jobs]
    tried = profile.canary and canary.distinct(configs)  # references are not worth one
    first = home / f"canary-{number}" / "spec.json" if tried else None
    return Group(profile, home, configs, arrays, first)


def _step(profile: Profile) -> list[str]:
    """Returns what starts a trial of several ranks: a step that spans the job."""
    if profile.num_ranks == 1:
        return []
    ranks = [f"--ntasks={profile.num_ranks}", f"--ntasks-per-node={profile.ranks}"]
    spread = [f"--nodes={profile.nodes}", *ranks, f"--cpus-per-task={profile.cpus}"]
    return ["srun", "--overlap", "--unbuffered", "--kill-on-bad-exit=1", *spread]
