"""Reads and follows the log of a run's last attempt, and the metrics of its training."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ablate.core.records.metrics_log import METRICS_FILE, Row, read_rows
from ablate.runs import store

POLL_SECONDS = 0.5
OPEN = ("planned", "running", "preempted")  # states in which a run may continue by itself


def find_log(folder: Path) -> Path | None:
    """Returns the log file of the last attempt; None if it is missing."""
    logs = sorted(folder.glob("attempts/*/log.txt"))
    return logs[-1] if logs else None


def read_log(folder: Path) -> list[str]:
    """Reads the lines of the last attempt's log; [] if it is missing."""
    log = find_log(folder)
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log else []


def follow_log(
    folder: Path, last: int | None = None, *, is_abandoned: Callable[[], bool]
) -> Iterator[str]:
    """Yields the log, or its `last` lines, and what is added to it until the run has ended.

    Training metrics that are recorded from now on are yielded too, one line per record. A run that
    is not running is waited for until `is_abandoned` returns True.
    """
    num_read, log = len(read_rows(folder / METRICS_FILE)), read_log(folder)
    yield from log[-last:] if last else log
    while True:
        is_open = store.read_status(folder).state in OPEN and not is_abandoned()
        steps, now = read_rows(folder / METRICS_FILE), read_log(folder)
        yield from map(_format_metrics, steps[num_read:])
        yield from now[len(log) :] if now[: len(log)] == log else now
        num_read, log = len(steps), now
        if not is_open:
            return
        time.sleep(POLL_SECONDS)


def format_training_progress(folder: Path, steps: int) -> str:
    """Formats the last recorded metrics of a training: `step 100 of 1500, loss 0.41`.

    Returns an empty text before the first record.
    """
    rows = read_rows(folder / METRICS_FILE)
    if not rows:
        return ""
    metrics = rows[-1]
    loss = metrics.get("loss")
    tokens = metrics.get("tokens_per_second")
    parts = [f"step {metrics['step']} of {steps}"]
    parts += [f"loss {loss:.4g}"] if loss is not None else []
    parts += [f"{tokens:.0f} tokens/s"] if tokens is not None else []
    return ", ".join(parts)


def read_metrics(folder: Path) -> list[Row]:
    """Reads the metrics that a run has recorded, in the order of the steps."""
    return read_rows(folder / METRICS_FILE)


def _format_metrics(metrics: Row) -> str:
    """Formats the metrics of a step: `step 100  loss 0.41`."""
    return "  ".join(
        f"{name} {value}" for name, value in metrics.items() if not isinstance(value, dict)
    )
