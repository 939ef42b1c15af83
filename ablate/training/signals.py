"""Being told to stop: a signal is noted, and the training loop stops between two steps.

The time limit of a cluster, a preemption and Ctrl-C arrive as signals, at any moment. While a
training runs, they only set a flag; at all other times they end the process.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StoppedError(Exception):
    """A training was told to stop, and has saved all that it needs to go on."""


class PausedError(Exception):
    """A training has come to the step that it was asked to pause at, and has saved itself."""


class Stop:
    """Whether this process was told to stop. One per process, made by its entry point."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._waits = False

    def listen(self) -> None:
        """Takes the signals; call it once, in the main thread, or it raises `ValueError`.

        From then on a signal that need not wait ends the process: 128 + its number is the status.
        """
        for number in SIGNALS:
            signal.signal(number, self._hear)

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Lets a signal wait while inside: it is noted in `signal`, which the loop looks at.

        Within another such block, it goes on waiting for the end of that one.
        """
        before, self._waits = self._waits, True
        try:
            yield
        finally:
            self._waits = before

    def heed(self) -> None:
        """Ends the process where a signal has waited for a loop that has not looked since."""
        if self.signal is not None and not self._waits:
            raise SystemExit(128 + self.signal)

    def _hear(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number)
        self.heed()
