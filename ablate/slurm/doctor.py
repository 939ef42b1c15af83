"""What is wrong with a site, or with a profile: found out by one tiny job."""

import dataclasses
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from ablate.core.records.jobs import NodeReport
from ablate.slurm import code_snapshot, commands, sbatch
from ablate.slurm import queue as slurm_queue
from ablate.slurm.commands import RefusedError
from ablate.slurm.profile import Profile
from ablate.slurm.queue import Submitted

MINUTES = 5  # that the job asks for
PATIENCE_SECONDS = 300.0  # until it must have run
POLL_SECONDS = 0.5
NEEDED = (["sbatch", "--version"], ["squeue", "--version"], ["scontrol", "show", "config"])


def examine(
    profile: Profile,
    folder: Path,
    say: Callable[[str], None],
    *,
    patience: float = PATIENCE_SECONDS,
) -> bool:
    """Says what works and what does not; tells whether a study can be run.

    Files go below `folder`; a job that has not run after `patience` seconds is taken back.
    """
    try:
        for command in NEEDED:
            commands.call(command)
        say(f"the site answers: {commands.call(NEEDED[0]).strip()}")
        try:
            commands.call(["sacct", "-n", "-X"])
            say("sacct answers")
        except RefusedError as error:
            say(f"no sacct, which is not essential ({error})")
        return _try_job(profile, folder.absolute() / secrets.token_hex(4), say, patience)
    except RefusedError as error:
        say(f"error: {error}")
        return False


def _try_job(profile: Profile, home: Path, say: Callable[[str], None], patience: float) -> bool:
    report, name = home / "report.json", f"ablate-doctor-{home.name}"
    (home / "logs").mkdir(parents=True)
    code = code_snapshot.take([], home / "code")
    tiny = dataclasses.replace(profile, minutes=MINUTES)
    file = report.with_suffix(".sbatch")
    file.write_text(sbatch.text(tiny, report, name=name, code=code, options=["--doctor"]))
    commands.rehearse(file)
    say(f"the site accepts what {profile.name}.yaml asks for")
    number = commands.submit(file)
    given = Submitted(number, name, str(home / "logs" / f"{number}_0_log.out"))
    try:
        found = _wait(given, report, patience)
    finally:
        slurm_queue.cancel([given])
    if isinstance(found, str):
        say(f"error: {found}")
        return False
    if found.problem:
        say(f"error: `python -m ablate.worker` does not start in a job: {found.problem}")
        return False
    say(f"a job runs on {found.host}: torch {found.torch}, {found.gpus} GPUs")
    if profile.gpus > (found.gpus or 0):
        say(f"error: {profile.gpus} GPUs were requested, but torch sees {found.gpus}")
        return False
    return True


def _wait(given: Submitted, report: Path, patience: float) -> NodeReport | str:
    deadline, why, absent = time.monotonic() + patience, "", 0
    while time.monotonic() < deadline:
        place = slurm_queue.places([given]).get(given.job)
        found = NodeReport.find(report)
        if found is not None:
            return found
        if place is None:
            absent += 1
            if absent > 2:
                return slurm_queue.reason(given, slurm_queue.ends([given]).get(given.job))[1]
        else:
            why = f"{place.state}, {place.reason}"
        time.sleep(POLL_SECONDS)
    return f"the job has not started within {patience:.0f} s: {why}; it was cancelled"
