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

DONE, FAILED, WRONG, OVER, INTERRUPTED = 0, 1, 2, 3, 130


class OverBudgetError(RuntimeError):
    """A study that would take more than its `limits` allow."""


def listen_for_endings() -> None:
    """Makes the signals that end a session end it in good order: workers would outlive us."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)


def ended(act: Callable[[], int], *, again: Sequence[str] = ()) -> int:
    """Acts, and turns what can end an act early into words and an exit code."""
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
        say(errors, f"{error}; nothing more can be run")
        return FAILED
    except (ValueError, OSError) as error:  # a damaged file, a full disk, a folder not ours
        say(errors, f"{error}; what is done is kept")
        return FAILED
    except SweepError as error:
        say(errors, str(error))
        return FAILED
    except RefusedError as error:
        say(errors, f"{error}; nothing was submitted")
        return FAILED
    except KeyboardInterrupt:
        on = f". To go on: {shlex.join(again)}" if again else ""
        say(errors, f"interrupted; what is done is kept{on}")
        return INTERRUPTED


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
