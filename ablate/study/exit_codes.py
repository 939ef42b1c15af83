"""Exit codes of the command line, and the messages of the errors that end it early."""

import shlex
import signal
from collections.abc import Callable, Sequence

from rich.console import Console

from ablate.config.study import StudyError
from ablate.config.sweep import SweepError
from ablate.core.machine_errors import MachineError, add_remedy
from ablate.executors.progress import print_line
from ablate.executors.worker import WorkerDiedError
from ablate.slurm.commands import PartialSubmissionError, SlurmError

DONE = 0
FAILED = 1  # at least one trial, or the session itself
WRONG = 2  # the study file is invalid
OVER = 3  # the study would exceed its limits
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class OverBudgetError(RuntimeError):
    """A study would take more than its `limits` allow."""


def interrupt_on_signals() -> None:
    """Turns SIGTERM, SIGHUP and SIGUSR1/2 into `KeyboardInterrupt`, so that workers are stopped.

    Signals that are ignored at start-up, as under `nohup`, stay ignored. During the shutdown only
    Ctrl-C interrupts again: a scheduler signals every process of a job, and some forward the
    signal, so one warning arrives more than once.
    """
    received: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        received.append(number)
        if len(received) == 1 or number == signal.SIGINT:
            raise KeyboardInterrupt

    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)


def run_with_exit_code(fn: Callable[[], int], *, resume_command: Sequence[str] = ()) -> int:
    """Calls `fn` and returns its exit code; an expected error becomes a message and a code.

    Args:
        fn: returns an exit code.
        resume_command: the command that continues after an interruption, shown to the user.
    """
    errors = Console(stderr=True)
    resume = f". To go on: {shlex.join(resume_command)}" if resume_command else ""
    try:
        return fn()
    except StudyError as error:
        print_line(errors, str(error))
        return WRONG
    except OverBudgetError as error:
        print_line(errors, f"{error}; nothing was started")
        return OVER
    except WorkerDiedError as error:
        print_line(errors, f"{add_remedy(str(error))}; cannot go on")
        return FAILED
    except MachineError as error:
        print_line(errors, f"{error}; all work is kept{resume}")
        return FAILED
    except (ValueError, OSError) as error:  # a damaged file, a full disk, a read-only folder
        print_line(errors, f"{add_remedy(str(error))}; finished work is kept")
        return FAILED
    except (SweepError, PartialSubmissionError) as error:
        print_line(errors, str(error))
        return FAILED
    except SlurmError as error:
        print_line(errors, f"{error}; nothing was submitted")
        return FAILED
    except KeyboardInterrupt:
        print_line(errors, f"interrupted; finished work is kept{resume}")
        return INTERRUPTED
