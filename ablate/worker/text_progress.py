"""Prints the progress of a run as lines for people, for a run in the foreground."""

import sys

from ablate.core.records.messages import ProgressMessage

LINES = 20  # per training


class TextProgress:
    """Prints a line at every twentieth of what is counted."""

    def __init__(self) -> None:
        self._printed = ("", 0)

    def __call__(self, progress: ProgressMessage) -> None:
        """Prints the progress, unless a line about this twentieth has been printed."""
        part = LINES * progress.done // progress.total if progress.total else progress.done
        if (progress.label, part) == self._printed:
            return
        self._printed = (progress.label, part)
        total = f" of {progress.total}" if progress.total else ""
        loss = "" if progress.loss is None else f", loss {progress.loss:.4g}"
        sys.stderr.write(f"{progress.label} {progress.done}{total}{loss}\n".lstrip())
