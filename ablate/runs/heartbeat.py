"""A run says that it lives: a count in a file that grows, whatever the run is at."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from ablate.core.io import write_atomically

BEAT_SECONDS = 10.0


class HeartbeatWriter:
    """Counts on in the file `heartbeat` of a run's folder, while inside, every ten seconds.

    Whoever sees the count change knows that the run lives. A beat that cannot be written is left
    out; raises `OSError` where the first one cannot.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "heartbeat"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._write(1)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 1
        while not self._ended.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError):  # a network disk that is away for a moment comes back
                self._write(count)

    def _write(self, count: int) -> None:
        write_atomically(self._file, f"{count}\n")
