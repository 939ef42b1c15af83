"""Who is here: a process's name, its beat, and whether a process of this machine is gone."""

import os
import socket
import time
import uuid
from pathlib import Path

BEAT_SECONDS = 10.0
PROC = Path("/proc")
ENDED = ("Z", "X")  # states of a process that is no more but in its parent's books


class Presence:
    """One taker of points; says now and then that it lives, by a counter."""

    def __init__(self, *, every: float = BEAT_SECONDS) -> None:
        started = _started(os.getpid()) or ""
        token = uuid.uuid4().hex[:8]
        self.name = f"{_machine()} {os.getpid()} {started} {token} {socket.gethostname()}"
        self._every = every
        self._beats: dict[str, tuple[int, float]] = {}

    def due(self, where: str) -> int | None:
        """Returns the next count to write there, or None while the last is fresh."""
        count, last = self._beats.get(where, (0, -self._every))
        now = time.monotonic()
        if count and now - last < self._every:
            return None
        self._beats[where] = count + 1, now
        return count + 1


def is_gone(name: str) -> bool:
    """Tells whether the process of that name is known to have ended: only on its own machine."""
    machine, *rest = name.split(" ")
    if not machine or machine != _machine() or len(rest) < 2:
        return False
    return _started(int(rest[0])) != rest[1]


def _machine() -> str:
    """Names the machine since its start, and the part of it in which process numbers count."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        space = (PROC / "self/ns/pid").readlink().name
    except OSError:
        return ""
    return f"{boot}/{space}"


def _started(pid: int) -> str | None:
    """Returns when a process was started, in ticks; None where there is no such process."""
    try:
        status = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if status[0] in ENDED else status[19]
