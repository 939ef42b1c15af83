"""Heartbeats: counters that rise while a process works, and how others see that they rise.

A process whose counter is seen to change is alive. File times are not compared, because the clocks
of two machines differ.
"""

import threading
import time
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Self

from ablate.core.io import DamagedFileError
from ablate.core.records.run import Heartbeat

HEARTBEAT_FILE = "heartbeat.json"
HEARTBEAT_SECONDS = 10.0  # between two counts


class HeartbeatWriter:
    """Raises the counter in a run folder's `heartbeat.json` while used as a context manager.

    A count that cannot be written is skipped; raises `OSError` if the first one cannot.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / HEARTBEAT_FILE
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._write(1)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        count = 1
        while not self._ended.wait(HEARTBEAT_SECONDS):
            count += 1
            with suppress(OSError):  # a network disk that fails for a moment recovers
                self._write(count)

    def _write(self, count: int) -> None:
        Heartbeat(count=count).write(self._file)


def read_heartbeat(folder: Path) -> int:
    """Returns the counter of a run folder; 0 before its first count, or if it is damaged."""
    with suppress(DamagedFileError):
        heartbeat = Heartbeat.find(folder / HEARTBEAT_FILE)
        return 0 if heartbeat is None else heartbeat.count
    return 0


class HeartbeatMonitor:
    """Remembers counters, or other values, of several processes and when each last changed."""

    def __init__(self) -> None:
        self._values: dict[Hashable, tuple[object, float]] = {}

    def update(self, key: Hashable, value: object) -> bool:
        """Stores the value of a process; returns whether it differs from an earlier one."""
        previous = self._values.get(key)
        if previous is not None and previous[0] == value:
            return False
        self._values[key] = value, time.monotonic()
        return previous is not None

    def is_stale(self, key: Hashable, value: object, patience: float) -> bool:
        """Stores the value of a process; returns whether it was the same for `patience` seconds."""
        if key not in self._values or self.update(key, value):
            self._values[key] = value, time.monotonic()
            return False
        return time.monotonic() - self._values[key][1] > patience
