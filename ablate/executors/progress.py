"""Shows progress: bars on a terminal; elsewhere a line per finished trial, as for a log file."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ablate.core.records.messages import ProgressMessage
from ablate.runs.job import RunJob, RunOutcome

LOG_WIDTH = 160  # characters
LINES_PER_REQUEST = 4  # printed for a long request if there is no terminal
LINE_SECONDS = 60.0  # between two lines about unfinished trials if there is no terminal

GetScore = Callable[[RunJob], float | None]


@contextmanager
def progress_bar(
    console: Console, title: str, *, continued: bool = False
) -> Iterator[Callable[[ProgressMessage], None]]:
    """Shows the progress of one long request, such as decoding all clips.

    Yields a function that takes the progress. Without a terminal, a line is printed at once, unless
    the request is `continued` from another, and one per quarter.
    """
    printed = 0
    if not (console.is_terminal or continued):
        print_line(console, f"{title} ...")
    with _open_bars(console) as bars:
        bar = bars.add_task(title, total=None)

        def on_progress(progress: ProgressMessage) -> None:
            nonlocal printed
            done, total = progress.done, progress.total
            description = f"{title}: {progress.label}" if progress.label else title
            bars.update(bar, description=description, completed=done, total=total or None)
            quarter = LINES_PER_REQUEST * done // total if total else 0
            if quarter > printed and not console.is_terminal:
                print_line(console, f"{title}: {done} of {total} {progress.label}".rstrip())
            printed = max(printed, quarter)

        yield on_progress


@contextmanager
def show_progress(console: Console, total: int, get_score: GetScore) -> Iterator["ProgressDisplay"]:
    """Shows the progress of an executor: a bar over all `total` jobs, and one per worker.

    `get_score` returns a finished job's validation score in percent, or None.
    """
    with _open_bars(console) as bars:
        yield ProgressDisplay(console, bars, total, get_score)


class ProgressDisplay:
    """Shows the progress of the workers of a pool or a cluster."""

    def __init__(self, console: Console, bars: Progress, total: int, get_score: GetScore) -> None:
        self._console = console
        self._bars = bars
        self._total = total
        self._get_score = get_score
        self._overall = bars.add_task("all", total=total)
        self._workers: dict[int, tuple[RunJob, TaskID]] = {}  # worker -> its job, the job's bar
        self._num_finished = 0
        self._printed = time.monotonic()

    def on_progress(self, worker: int, job: RunJob, progress: ProgressMessage) -> None:
        """Updates the worker's bar."""
        label = f"{job.title}: {progress.label}"
        if worker in self._workers and self._workers[worker][0] != job:
            self._remove_bar(worker)
        if worker not in self._workers:
            self._workers[worker] = job, self._bars.add_task(label, total=None)
        bar = self._workers[worker][1]
        self._bars.update(
            bar,
            description=label,
            completed=progress.done,
            total=progress.total or None,
            detail="" if progress.loss is None else f"loss {progress.loss:.4g}",
        )
        if not self._console.is_terminal and time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            print_line(self._console, f"{label}, {progress.done} of {progress.total}")

    def on_finished(self, worker: int, outcome: RunOutcome) -> None:
        """Prints how a job ended; nothing for a job that paused."""
        self._remove_bar(worker)
        if outcome.state == "paused":
            return  # the sweep decides whether it is resumed or pruned
        self._num_finished += 1
        self._bars.update(self._overall, completed=self._num_finished)
        counts = f"[{self._num_finished}/{self._total}]"
        self._printed = time.monotonic()
        print_line(self._console, f"{counts} {outcome.job.title}: {self._format(outcome)}")

    def _format(self, outcome: RunOutcome) -> str:
        if outcome.state != "done":
            return f"{outcome.state}: {outcome.reason}"
        score = self._get_score(outcome.job)
        ending = f", validation score {score:.1f}" if score is not None else ""
        if not (outcome.trained or outcome.probed):
            return f"done by another process{ending}"
        action = "trained" if outcome.trained else "scored"
        return f"{action} in {outcome.seconds:.1f} s{ending}"

    def _remove_bar(self, worker: int) -> None:
        if worker in self._workers:
            self._bars.remove_task(self._workers.pop(worker)[1])


class DetailColumn(ProgressColumn):
    """Shows the loss of a training, and how many steps or clips are done per second."""

    def render(self, task: Task) -> Text:
        detail = task.fields.get("detail", "")
        rate = f"{task.speed:.3g}/s" if task.total and task.speed else ""
        return Text("  ".join(text for text in (detail, rate) if text))


def create_console() -> Console:
    """Returns the console on stdout, 160 characters wide if that is not a terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console


def replace_unencodable() -> None:
    """Prints `?` for characters that the terminal's encoding lacks, such as a minus sign."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_line(console: Console, text: str) -> None:
    """Prints a line as it is: without markup, colours or line breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _open_bars(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        DetailColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=console, transient=True)
    if not console.is_terminal:
        yield bars  # not shown: it would print a line at its end
        return
    with bars:
        yield bars
