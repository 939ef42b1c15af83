"""Formats sbatch scripts with submitit.

https://github.com/facebookincubator/submitit. Unlike submitit, it pickles no function: a job is a
command line and the text files that it reads.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ablate.executors.worker import ONE_THREAD
from ablate.slurm.profile import Profile

JOB_MODULE = "ablate.slurm.job"


def format_script(
    profile: Profile,
    spec: Path,
    *,
    name: str,
    code: Path,
    count: int | None = None,
    after: str = "",
    after_any: str = "",
    module: str = JOB_MODULE,
    options: Sequence[str] = (),
) -> str:
    """Returns the sbatch script of a job, or of an array of `count` jobs.

    Args:
        profile: the resources to request.
        spec: specification file that the job reads.
        name: name of the job.
        code: folder of the code to import.
        count: number of the array's tasks; None for a single job.
        after: number of a job that must succeed first.
        after_any: number of a job that must have ended first, in whatever way.
        module: module that the job runs.
        options: command-line options of that module.
    """
    from submitit.slurm.slurm import _make_sbatch_string  # slow; `ablate plan` needs none of it

    # -P, and PYTHONSAFEPATH for further processes: import the snapshot, not what is in the working
    # directory when the job starts
    python = profile.python or shlex.quote(sys.executable)
    command = f"{python} -u -P -m {module} {shlex.join([*options, str(spec)])}"
    # a trial of several ranks is a job step of its own, next to the process that starts it
    overlap = ["--nodes=1", "--ntasks=1", "--overlap"] if profile.num_ranks > 1 else []
    script: str = _make_sbatch_string(
        command,
        folder=spec.parent / "logs",
        job_name=name,
        partition=profile.partition or None,
        account=profile.account or None,
        qos=profile.qos or None,
        constraint=profile.constraint or None,
        time=profile.minutes,
        nodes=profile.nodes,
        ntasks_per_node=profile.ranks,
        cpus_per_task=profile.cpus_per_task,
        mem=profile.memory_per_node or None,
        signal_delay_s=profile.signal_seconds,
        array_parallelism=profile.parallel,
        wckey=None,  # type: ignore[arg-type]  # submitit's default; some clusters refuse unknown keys
        map_count=count,
        setup=_format_setup(profile, code),
        stderr_to_stdout=True,
        additional_parameters=_list_other_options(profile, after, after_any),
        # srun does not inherit it from sbatch since SLURM 22.05
        srun_args=[*overlap, f"--cpus-per-task={profile.cpus_per_task}"],
    )
    return script


def _format_setup(profile: Profile, code: Path) -> list[str]:
    """Returns the shell lines before the command: those of the profile, then the environment."""
    # one thread, as in local runs: with more, sums are computed in another order
    exports = {**ONE_THREAD, **profile.environment, "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}
    return [
        *profile.setup,
        *(f"export {key}={shlex.quote(value)}" for key, value in exports.items()),
        f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}",
    ]


def _list_other_options(profile: Profile, after: str, after_any: str) -> dict[str, object]:
    """Returns the options that submitit lacks, or does not spell as every cluster does."""
    options: dict[str, object] = {"requeue": True, "export": "ALL", **profile.sbatch}
    if after:
        options |= {"dependency": f"afterok:{after}", "kill-on-invalid-dep": "yes"}
    if after_any:
        options["dependency"] = f"afterany:{after_any}"
    gpus, kind = profile.gpus, f"{profile.gpu_type}:" if profile.gpu_type else ""
    if gpus:
        value = f"gpu:{kind}{gpus}" if profile.gpus_as == "gres" else f"{kind}{gpus}"
        options[profile.gpus_as.replace("_", "-")] = value
    return options
