"""The site's own commands: sbatch, scontrol. What they refuse is raised in their own words."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SECONDS = 60.0  # for an answer
LIMIT = "Limit"  # in what SLURM says of one that is reached: QOSMaxSubmitJobPerUserLimit


class RefusedError(RuntimeError):
    """The site said no; the words are its own."""


class NoSiteError(RefusedError):
    """This machine has none of the site's commands."""


class LimitError(RefusedError):
    """The site lets in no more than it has; it may once there is room."""


class RestRefusedError(RefusedError):
    """Some runs could not be submitted, while others of their study are in the queue."""


def submit(file: Path) -> str:
    """Queues the job of an sbatch file and returns its number. Raises `RefusedError`."""
    said = call(["sbatch", "--parsable", str(file)])
    found = re.match(r"\d+", said)
    if found is None:
        raise RefusedError(f"sbatch gave no job number: {said.strip()!r}")
    return found.group()


def rehearse(file: Path) -> None:
    """Has the site check a job without queueing it. Raises `RefusedError`."""
    call(["sbatch", "--test-only", str(file)])


def max_array() -> int:
    """Asks the site for the size that an array may have; 1000 where it does not say.

    SLURM's `MaxArraySize` is one more than the last index. Raises `RefusedError`.
    """
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call(["scontrol", "show", "config"]), re.M)
    return int(found[1]) if found else 1000


def call(command: Sequence[str], *, seconds: float = SECONDS) -> str:
    """Runs one of the site's commands and returns its stdout.

    Raises `RefusedError` with what it wrote where it fails, and where it has not answered after
    `seconds`; `LimitError` where a limit of the site is in the way, and `NoSiteError` where the
    command is not there.
    """
    if shutil.which(command[0]) is None:
        advice = "submit from a login node of the cluster"
        raise NoSiteError(f"`{command[0]}` is not installed here; {advice}")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"`{command[0]}` did not answer for {seconds:.0f} s") from None
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        said = f"{command[0]}: {'; '.join(words)}"
        raise LimitError(said) if LIMIT in said else RefusedError(said)
    return done.stdout
