"""The text that is handed to sbatch, as submitit writes it.

https://github.com/facebookincubator/submitit. Unlike there, no function and no object goes with
it: a job is a command line and files of text.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from submitit.slurm.slurm import _make_sbatch_string

from ablate.executors.worker import ONE_THREAD
from ablate.slurm.profile import Profile

TASK = "ablate.slurm.job"


def text(
    profile: Profile,
    spec: Path,
    *,
    name: str,
    code: Path,
    count: int | None = None,
    after: str = "",
    of: str = TASK,
    options: Sequence[str] = (),
) -> str:
    """Returns the text of a job, or of an array of `count`, that works through the file `spec`.

    It imports the code in the folder `code` and starts once job `after` has ended well, if that
    is named. `of` is the module that does the work, `options` its options.
    """
    # -P: the snapshot is the code that runs, not what lies in the working directory by then
    python = profile.python or shlex.quote(sys.executable)
    command = f"{python} -u -P -m {of} {shlex.join([*options, str(spec)])}"
    # a trial of several ranks is a step of its own; the process that looks after it stands aside
    aside = ["--nodes=1", "--ntasks=1", "--overlap"] if profile.num_ranks > 1 else []
    written: str = _make_sbatch_string(
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
        cpus_per_task=profile.cpus,
        mem=profile.memory or None,
        signal_delay_s=profile.signal_seconds,
        array_parallelism=profile.parallel,
        wckey=None,  # type: ignore[arg-type]  # it names submitit, and some sites refuse unknown ones
        map_count=count,
        setup=_setup(profile, code),
        stderr_to_stdout=True,
        additional_parameters=_more(profile, after),
        # not handed on since SLURM 22.05
        srun_args=[*aside, f"--cpus-per-task={profile.cpus}"],
    )
    return written


def _setup(profile: Profile, code: Path) -> list[str]:
    """Returns the shell lines before the command: the site's, then the environment."""
    # probes compute as they do here: with more threads sums are taken in another order
    exports = {**ONE_THREAD, **profile.environment, "PYTHONUNBUFFERED": "1"}
    return [
        *profile.setup,
        *(f"export {key}={shlex.quote(value)}" for key, value in exports.items()),
        f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}",
    ]


def _more(profile: Profile, after: str) -> dict[str, object]:
    """Returns the options that submitit has no word for, or spells as not every site does."""
    more: dict[str, object] = {"requeue": True, "export": "ALL", **profile.sbatch}
    if after:
        more |= {"dependency": f"afterok:{after}", "kill-on-invalid-dep": "yes"}
    gpus, kind = profile.gpus, f"{profile.gpu_type}:" if profile.gpu_type else ""
    if gpus:
        spelled = f"gpu:{kind}{gpus}" if profile.gpus_as == "gres" else f"{kind}{gpus}"
        more[profile.gpus_as.replace("_", "-")] = spelled
    return more
