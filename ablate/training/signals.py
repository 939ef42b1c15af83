"""Stop signals: recorded while training runs, and handled between two steps.

A cluster's time limit, a preemption and Ctrl-C arrive as signals at any moment. During training
they only set a flag; at all other times they end the process.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StoppedError(Exception):
    """Training was stopped by a signal, and has saved the state it needs to resume."""


class PausedError(Exception):
    """Training has reached the step at which it was to pause, and has saved its state."""


class StopSignal:
    """The stop signal that this process has received, if any. Its entry point creates one.

    Attributes:
        signal: The last signal received, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_deferred = False

    def install(self) -> None:
        """Installs the signal handlers. Raises `ValueError` outside of the main thread.

        From then on a signal ends the process with exit code 128 + its number, unless deferred.
        """
        for number in SIGNALS:
            signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defers signals inside the block: they are only recorded in `signal`.

        In nested blocks, signals stay deferred until the outermost one ends.
        """
        before, self._is_deferred = self._is_deferred, True
        try:
            yield
        finally:
            self._is_deferred = before

    def exit_if_received(self) -> None:
        """Ends the process if a signal was received and signals are not deferred."""
        if self.signal is not None and not self._is_deferred:
            raise SystemExit(128 + self.signal)

    def receive(self, number: int) -> None:
        """Records a signal, and ends the process unless signals are deferred."""
        self.signal = signal.Signals(number)
        self.exit_if_received()

    def _handle(self, number: int, frame: object) -> None:
        self.receive(number)
