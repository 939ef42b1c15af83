"""Requeues the SLURM job in which this process runs."""

import os
import signal
import sys
from dataclasses import dataclass

from ablate.slurm import commands

REQUEUE_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class RequeueProblem:
    """Why a job was not requeued."""

    reason: str
    is_final: bool = False  # the job has been requeued as often as allowed


def requeue(received: signal.Signals, max_requeues: int) -> RequeueProblem | None:
    """Requeues this job and prints so; returns the problem if it cannot be requeued.

    Args:
        received: the signal that stopped the job.
        max_requeues: how often the job may be requeued in total.
    """
    number, restarts = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if restarts >= max_requeues:
        remedy = "raise `minutes` or `max_requeues` of the profile"
        reason = f"timeout: requeued {restarts} times and still not done; {remedy}"
        problem = RequeueProblem(reason, is_final=True)
    else:
        print_line(f"{received.name}: requeueing job {number}")
        try:
            commands.run_command(["scontrol", "requeue", number])
        except commands.SlurmError as error:
            problem = RequeueProblem(f"cannot be requeued: {error}")
        else:
            return None
    print_line(problem.reason)
    return problem


def print_line(text: str) -> None:
    """Prints a line into the log of the job, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
