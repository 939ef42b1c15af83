"""Identifies a process of a sweep, schedules its heartbeat, and detects ended processes."""

import os
import socket
import time
import uuid
from pathlib import Path

from ablate.runs.heartbeat import HEARTBEAT_SECONDS

PROC = Path("/proc")
ENDED = ("Z", "X")  # states of a process that has ended and is still listed


class SweepProcess:
    """A process that evaluates points: its unique name, and when its next heartbeat is due.

    Other processes see that it is alive because its counter rises every `interval` seconds.
    """

    def __init__(self, *, interval: float = HEARTBEAT_SECONDS) -> None:
        started = _get_start_time(os.getpid()) or ""
        token = uuid.uuid4().hex[:8]
        self.name = f"{_get_machine()} {os.getpid()} {started} {token} {socket.gethostname()}"
        self._interval = interval
        self._counts: dict[str, tuple[int, float]] = {}

    def next_count(self, search: str) -> int | None:
        """Returns the next count to write for a search, or None if its last one is recent."""
        count, last = self._counts.get(search, (0, -self._interval))
        now = time.monotonic()
        if count and now - last < self._interval:
            return None
        self._counts[search] = count + 1, now
        return count + 1


def has_ended(name: str) -> bool:
    """Returns whether the process of this name is certain to have ended.

    False for processes of other machines, and on systems without `/proc`.
    """
    machine, *rest = name.split(" ")
    if not machine or machine != _get_machine() or len(rest) < 2:
        return False
    return _get_start_time(int(rest[0])) != rest[1]


def _get_machine() -> str:
    """Identifies this boot of the machine and its namespace of process numbers."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        space = (PROC / "self/ns/pid").readlink().name
    except OSError:
        return ""
    return f"{boot}/{space}"


def _get_start_time(pid: int) -> str | None:
    """Returns when a process was started, in clock ticks; None if no such process runs."""
    try:
        status = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if status[0] in ENDED else status[19]
