"""Who is here: a process's name, its beat, and whether a process of this machine is gone."""

import os
import socket
import time
import uuid
from pathlib import Path

from ablate.runs.heartbeat import HEARTBEAT_SECONDS

PROC = Path("/proc")
ENDED = ("Z", "X")  # states of a process that has ended and is still listed


class Presence:
    """A process that takes points: its name, and when its counter is due to be written again.

    Others see that it lives because the counter rises, every `every` seconds.
    """

    def __init__(self, *, every: float = HEARTBEAT_SECONDS) -> None:
        started = _started(os.getpid()) or ""
        token = uuid.uuid4().hex[:8]
        self.name = f"{_machine()} {os.getpid()} {started} {token} {socket.gethostname()}"
        self._every = every
        self._beats: dict[str, tuple[int, float]] = {}

    def due(self, where: str) -> int | None:
        """Returns the next count to write at a place, or None while its last is fresh."""
        count, last = self._beats.get(where, (0, -self._every))
        now = time.monotonic()
        if count and now - last < self._every:
            return None
        self._beats[where] = count + 1, now
        return count + 1


def is_gone(name: str) -> bool:
    """Tells whether the process of that name is known to have ended.

    Known only on its own machine, and only where there is a `/proc`.
    """
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
