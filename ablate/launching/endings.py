"""How a session ends: its exit codes, and what can end it early turned into words."""

import shlex
import signal
from collections.abc import Callable, Sequence

from rich.console import Console

from ablate.launching.commands import RefusedError
from ablate.launching.watch import say
from ablate.launching.worker import WorkerDiedError
from ablate.schema import StudyError
from ablate.sections.sweep import SweepError

# all is done; a trial failed; the study is wrong; it would take more than its limits; Ctrl-C
DONE, FAILED, WRONG, OVER, INTERRUPTED = 0, 1, 2, 3, 130


class OverBudgetError(RuntimeError):
    """A study that would take more than its `limits` allow."""


def listen_for_endings() -> None:
    """Has SIGTERM and SIGHUP end a session as Ctrl-C does: its workers would outlive it."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)


def ended(act: Callable[[], int], *, again: Sequence[str] = ()) -> int:
    """Acts, and turns what can end an act early into words on stderr and an exit code.

    `again` is the command that goes on after an interruption. Any other exception is raised.
    """
    errors = Console(stderr=True)
    try:
        return act()
    except StudyError as error:
        say(errors, str(error))
        return WRONG
    except OverBudgetError as error:
        say(errors, f"{error}; nothing was started")
        return OVER
    except WorkerDiedError as error:
        say(errors, f"{error}; cannot go on")
        return FAILED
    except (ValueError, OSError) as error:  # a damaged file, a full disk, a folder not ours
        say(errors, f"{error}; finished work is kept")
        return FAILED
    except SweepError as error:
        say(errors, str(error))
        return FAILED
    except RefusedError as error:
        say(errors, f"{error}; nothing was submitted")
        return FAILED
    except KeyboardInterrupt:
        on = f". To go on: {shlex.join(again)}" if again else ""
        say(errors, f"interrupted; finished work is kept{on}")
        return INTERRUPTED


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
