"""Runs SLURM's commands and raises their error messages as exceptions."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_SECONDS = 60.0
DEFAULT_MAX_ARRAY_SIZE = 1000
UNAVAILABLE = "Requested node configuration is not available"
AWAY_STATES = ("drain", "drng", "down", "maint", "fail")
LIMIT_MARKER = "Limit"  # in SLURM's messages about limits, such as QOSMaxSubmitJobPerUserLimit
UNREACHABLE = re.compile("resolve_ctls|configuration source|[Uu]nable to contact slurm controller")
ADVICE_WITHOUT_CONTROLLER = (
    "SLURM's commands are installed here, but no controller answers them: work on a login node of "
    "the cluster; docs/tutorials/cluster.md says how to try without a cluster"
)


class SlurmError(RuntimeError):
    """A SLURM command failed; the message is what it printed."""


class SlurmMissingError(SlurmError):
    """A SLURM command is not installed on this machine."""


class QueueLimitError(SlurmError):
    """The cluster's limit on queued jobs is reached; a later submission may succeed."""


class PartialSubmissionError(SlurmError):
    """Some runs could not be submitted, while others of their study are queued."""


def submit(file: Path) -> str:
    """Submits an sbatch file and returns the job number. Raises `SlurmError`."""
    output = run_command(["sbatch", "--parsable", str(file)])
    number = re.match(r"\d+", output)
    if number is None:
        raise SlurmError(f"sbatch gave no job number: {output.strip()!r}")
    return number.group()


def check_submission(file: Path) -> None:
    """Checks an sbatch file with `sbatch --test-only`, without queueing it.

    While all nodes are drained or down, that check refuses every job, although sbatch itself would
    queue it; then the job is not checked. Raises `SlurmError`.
    """
    try:
        run_command(["sbatch", "--test-only", str(file)])
    except SlurmError as error:
        if UNAVAILABLE not in str(error) or not _are_all_nodes_away(file):
            raise


def _are_all_nodes_away(file: Path) -> bool:
    """Returns whether no node of an sbatch file's partition takes jobs now."""
    partition = re.search(r"^#SBATCH --partition=(\S+)", file.read_text(), re.M)
    options = ["--partition", partition[1]] if partition else []
    states = run_command(["sinfo", "-h", *options, "-o", "%t"]).split()
    return bool(states) and all(state.startswith(AWAY_STATES) for state in states)


def get_max_array_size() -> int:
    """Returns the largest number of tasks in a job array, by default 1000. Raises `SlurmError`."""
    try:
        output = run_command(["scontrol", "show", "config"])
    except SlurmError as error:
        remedy = (
            "set the profile's `max_array` to show the jobs with --dry-run where no SLURM answers"
        )
        raise type(error)(f"{error}\n{remedy}") from error
    size = re.search(r"^MaxArraySize\s*=\s*(\d+)", output, re.M)  # one more than the last index
    return int(size[1]) if size else DEFAULT_MAX_ARRAY_SIZE


def is_installed(command: str) -> bool:
    """Returns whether a SLURM command is installed on this machine."""
    return shutil.which(command) is not None


def run_command(command: Sequence[str], *, timeout: float = TIMEOUT_SECONDS) -> str:
    """Runs a SLURM command and returns its stdout.

    Args:
        command: the command and its arguments.
        timeout: in seconds.

    Raises:
        SlurmMissingError: the command is not installed.
        QueueLimitError: a limit of the cluster is reached.
        SlurmError: the command failed otherwise, or timed out.
    """
    if not is_installed(command[0]):
        advice = "submit from a login node of the cluster"
        raise SlurmMissingError(f"`{command[0]}` is not installed here; {advice}")
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"`{command[0]}` did not answer within {timeout:.0f} s") from None
    if process.returncode:
        lines = (process.stderr.strip() or process.stdout.strip()).splitlines() or ["no message"]
        message = f"{command[0]}: {'; '.join(lines)}"
        if UNREACHABLE.search(message):
            message += f"\n{ADVICE_WITHOUT_CONTROLLER}"
        raise QueueLimitError(message) if LIMIT_MARKER in message else SlurmError(message)
    return process.stdout
