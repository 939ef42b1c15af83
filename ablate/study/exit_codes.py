"""How a session ends: its exit codes, and what can end it early turned into words."""

import shlex
import signal
from collections.abc import Callable, Sequence

from rich.console import Console

from ablate.config.study import StudyError
from ablate.config.sweep import SweepError
from ablate.executors.progress import print_line
from ablate.executors.worker import WorkerDiedError
from ablate.slurm.commands import RefusedError, RestRefusedError

# all is done; a trial failed; the study is wrong; it would take more than its limits; Ctrl-C
DONE, FAILED, WRONG, OVER, INTERRUPTED = 0, 1, 2, 3, 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class OverBudgetError(RuntimeError):
    """A study that would take more than its `limits` allow."""


def listen_for_endings() -> None:
    """Has what a person or a site tells a session to end with do so as Ctrl-C does.

    Its workers would outlive it otherwise. Once it ends, only Ctrl-C hurries it: a site tells every
    process of a job, some of which pass it on, so one warning arrives more than once. What it was
    started deaf to, as by `nohup`, it does not hear.
    """
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) == 1 or number == signal.SIGINT:
            raise KeyboardInterrupt

    for ending in ENDINGS:
        if signal.getsignal(ending) != signal.SIG_IGN:
            signal.signal(ending, hear)


def ended(act: Callable[[], int], *, again: Sequence[str] = ()) -> int:
    """Acts, and turns what can end an act early into words on stderr and an exit code.

    `again` is the command that goes on after an interruption. Any other exception is raised.
    """
    errors = Console(stderr=True)
    try:
        return act()
    except StudyError as error:
        print_line(errors, str(error))
        return WRONG
    except OverBudgetError as error:
        print_line(errors, f"{error}; nothing was started")
        return OVER
    except WorkerDiedError as error:
        print_line(errors, f"{error}; cannot go on")
        return FAILED
    except (ValueError, OSError) as error:  # a damaged file, a full disk, a folder not ours
        print_line(errors, f"{error}; finished work is kept")
        return FAILED
    except (SweepError, RestRefusedError) as error:
        print_line(errors, str(error))
        return FAILED
    except RefusedError as error:
        print_line(errors, f"{error}; nothing was submitted")
        return FAILED
    except KeyboardInterrupt:
        on = f". To go on: {shlex.join(again)}" if again else ""
        print_line(errors, f"interrupted; finished work is kept{on}")
        return INTERRUPTED
