"""Groups runs that need the same resources into job arrays, and writes their sbatch scripts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ablate.core.io import write_atomically
from ablate.core.records.jobs import JobSpec, SubmittedArray
from ablate.core.records.run import CONFIG_FILE, RunConfig
from ablate.runs.job import RunJob
from ablate.slurm import canary, commands, sbatch
from ablate.slurm.profile import Profile
from ablate.slurm.resources import Resources

Item = TypeVar("Item")
Packs = list[list[RunJob]]  # runs of each job


@dataclass(frozen=True)
class Group:
    """Runs that need the same resources: their arrays, and the canary on which these depend."""

    profile: Profile
    home: Path  # folder of the whole submission
    configs: list[RunConfig]  # one per run
    arrays: dict[Path, Packs]  # specification file of an array -> run folders of its jobs
    canary: Path | None  # specification file of the canary

    def write(self, probes: Path, cache: Path) -> None:
        """Writes the specification files of the arrays and of the canary.

        Args:
            probes: JSON file with the settings of the probes.
            cache: folder of decoded clips.
        """
        first = next(iter(self.arrays.values()))[0][0]
        spec = JobSpec(
            probes=str(probes),
            evaluate=first.evaluate,
            cache=str(cache),
            device=self.profile.device,
            step=_build_step(self.profile),
            max_requeues=self.profile.max_requeues,
            signal_seconds=self.profile.signal_seconds,
            at_once=self.profile.trials_at_once,
        )
        for file, packs in self.arrays.items():
            folders = [[str(job.folder.absolute()) for job in pack] for pack in packs]
            replace(spec, packs=folders).write(file)
        if self.canary is not None:
            canary.write_canary(self.canary, self.configs, spec)

    def get_job_name(self, file: Path, submission: str) -> str:
        """Returns the unique name of the array or canary whose specification is `file`."""
        name = f"{submission}-{file.stem.removeprefix('array-')}"
        if file != self.canary:
            return name
        first = next(iter(self.arrays))
        return canary.get_canary_name(self.get_job_name(first, submission), file.parent)

    def describe_arrays(self, submission: str) -> list[SubmittedArray]:
        """Returns the records of the arrays before they are submitted."""
        return [
            SubmittedArray(
                name=self.get_job_name(file, submission),
                packs=[[str(job.folder.absolute()) for job in pack] for pack in packs],
                canary=str(self.canary.parent) if self.canary is not None else "",
                canary_name=self.get_job_name(self.canary, submission) if self.canary else "",
            )
            for file, packs in self.arrays.items()
        ]

    def format_sbatch(self, file: Path, submission: str, after: str = "") -> str:
        """Returns the sbatch script of the array or canary whose specification is `file`.

        `after` is the number of the job that must succeed first.
        """
        name = self.get_job_name(file, submission)
        code = self.home / "code"
        if file == self.canary:
            return sbatch.format_script(self.profile, file, name=name, code=code)
        count = len(self.arrays[file])
        return sbatch.format_script(
            self.profile, file, name=name, code=code, count=count, after=after
        )

    def write_sbatch(self, file: Path, submission: str, after: str = "") -> Path:
        """Writes that script next to the specification; returns its path."""
        script = file.with_suffix(".sbatch")
        text = self.format_sbatch(file, submission, after)
        write_atomically(script, text, private=True)  # the profile may set secrets in it
        return script


def group_jobs(jobs: Sequence[RunJob], resources: Resources, home: Path) -> list[Group]:
    """Groups runs by the resources that they need.

    Args:
        jobs: the runs.
        resources: what the runs of each level need.
        home: folder of the submission.

    Raises:
        StudyError: the settings of a run's levels contradict each other.
        SlurmError: the cluster does not report its largest array.
    """
    groups: list[tuple[Profile, list[RunJob]]] = []  # a list: a profile is not hashable
    for job in jobs:
        needed = resources.get_profile(job.levels)
        for profile, others in groups:
            if profile == needed:
                others.append(job)
                break
        else:
            groups.append((needed, [job]))
    return [
        _create_group(profile, members, home, f"{index:02d}")
        for index, (profile, members) in enumerate(groups)
    ]


def _split(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Cuts a list into pieces of `size`; the last one may be shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _create_group(profile: Profile, jobs: list[RunJob], home: Path, number: str) -> Group:
    size = profile.max_array or commands.get_max_array_size()
    arrays = {
        home / f"array-{number}-{index:02d}.json": packs
        for index, packs in enumerate(_split(_split(jobs, profile.trials_per_job), size))
    }
    configs = [job.config or RunConfig.read(job.folder / CONFIG_FILE) for job in jobs]
    has_canary = profile.canary and canary.select_distinct(configs)  # references need none
    spec = home / f"canary-{number}" / "spec.json" if has_canary else None
    return Group(profile, home, configs, arrays, spec)


def _build_step(profile: Profile) -> list[str]:
    """Returns the command that starts a trial of several ranks; empty for one rank."""
    if profile.num_ranks == 1:
        return []
    layout = [
        *(f"--nodes={profile.nodes}", f"--ntasks={profile.num_ranks}"),
        *(f"--ntasks-per-node={profile.ranks}", f"--cpus-per-task={profile.cpus}"),
    ]
    return ["srun", "--overlap", "--unbuffered", "--kill-on-bad-exit=1", *layout]
