"""The log of a run's last attempt, and of its training as it goes on."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ablate.runs import store

POLL_SECONDS = 0.5
OPEN = ("planned", "running", "preempted")  # states after which a run may go on by itself
METRICS = "metrics.jsonl"


def find_log(folder: Path) -> Path | None:
    """Returns the log of the last attempt; None where there is none."""
    found = sorted(folder.glob("attempts/*/log.txt"))
    return found[-1] if found else None


def read_log(folder: Path) -> list[str]:
    """Reads the lines of the last attempt's log; none where there is no log."""
    log = find_log(folder)
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log else []


def follow_log(
    folder: Path, last: int | None = None, *, given_up: Callable[[], bool]
) -> Iterator[str]:
    """Yields the log, or its `last` lines, and what is added to it until the run has ended.

    One that nobody runs yet, or for now, is waited for until `given_up`. Steps that are trained
    from now on come in between, a line each.
    """
    seen, log = len(_lines(folder / METRICS)), read_log(folder)
    yield from log[-last:] if last else log
    while True:
        open_still = store.read_status(folder).state in OPEN and not given_up()
        steps, now = _lines(folder / METRICS), read_log(folder)
        yield from map(_step, steps[seen:])
        yield from now[len(log) :] if now[: len(log)] == log else now
        seen, log = len(steps), now
        if not open_still:
            return
        time.sleep(POLL_SECONDS)


def _lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").split("\n")[:-1] if line]


def _step(line: str) -> str:
    """Words a line of metrics: `step 100  loss 0.41`."""
    found = json.loads(line)
    return "  ".join(
        f"{name} {value}" for name, value in found.items() if not isinstance(value, dict)
    )
