"""What a person sees while trials run: bars on a terminal, a line per finished trial elsewhere."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from ablate.runs.job import Event, RunJob, RunOutcome

LOG_WIDTH = 160  # characters
QUARTERS = 4  # how often a long stage says a line where there is no terminal

ScoreOf = Callable[[RunJob], float | None]


@contextmanager
def progress_bar(
    console: Console, title: str, *, goes_on: bool = False
) -> Iterator[Callable[[Event], None]]:
    """Shows the progress of one long answer, such as reading all clips.

    Yields what is to be told of events: `done` and `total`, and in `label` what they count. Where
    there is no terminal it prints a line at once, unless `goes_on`, and one each quarter.
    """
    said = 0
    if not (console.is_terminal or goes_on):
        print_line(console, f"{title} ...")
    with _shown(console) as bars:
        bar = bars.add_task(title, total=None)

        def heard(event: Event) -> None:
            nonlocal said
            done, total = int(event.get("done", 0)), int(event.get("total", 0))
            words = f"{title}: {event['label']}" if event.get("label") else title
            bars.update(bar, description=words, completed=done, total=total or None)
            quarter = QUARTERS * done // total if total else 0
            if quarter > said and not console.is_terminal:
                print_line(console, f"{title}: {done} of {total} {event.get('label', '')}".rstrip())
            said = max(said, quarter)

        yield heard


@contextmanager
def show_progress(console: Console, total: int, score_of: ScoreOf) -> Iterator["ProgressDisplay"]:
    """Shows the progress of a pool: a bar over all `total` jobs and a line per worker.

    `score_of` gives a finished job's validation score in percent, or None.
    """
    with _shown(console) as bars:
        yield ProgressDisplay(console, bars, total, score_of)


class ProgressDisplay:
    """Shows what a pool, or a cluster, tells of its workers."""

    def __init__(self, console: Console, bars: Progress, total: int, score_of: ScoreOf) -> None:
        self._console = console
        self._bars = bars
        self._total = total
        self._score_of = score_of
        self._all = bars.add_task("all", total=total)
        self._lines: dict[int, tuple[RunJob, TaskID]] = {}  # worker -> its job and the job's bar
        self._ended = 0

    def progress(self, worker: int, job: RunJob, event: Event) -> None:
        """Moves the worker's bar."""
        label = f"{job.title}: {event.get('label', '')}"
        if worker in self._lines and self._lines[worker][0] != job:
            self._clear(worker)
        if worker not in self._lines:
            self._lines[worker] = job, self._bars.add_task(label, total=None)
        bar = self._lines[worker][1]
        self._bars.update(
            bar, description=label, completed=event.get("done"), total=event.get("total")
        )

    def finished(self, worker: int, outcome: RunOutcome) -> None:
        """Says how a job ended; of one that pauses, nothing."""
        self._clear(worker)
        if outcome.state == "paused":
            return  # to be judged; it goes on, or is given up
        self._ended += 1
        self._bars.update(self._all, completed=self._ended)
        counted = f"[{self._ended}/{self._total}]"
        print_line(self._console, f"{counted} {outcome.job.title}: {self._words(outcome)}")

    def _words(self, outcome: RunOutcome) -> str:
        if outcome.state != "done":
            return f"{outcome.state}: {outcome.reason}"
        score = self._score_of(outcome.job)
        scored = f", validation score {score:.1f}" if score is not None else ""
        if not (outcome.trained or outcome.probed):
            return f"done by another process{scored}"
        what = "trained" if outcome.trained else "scored"
        return f"{what} in {outcome.seconds:.1f} s{scored}"

    def _clear(self, worker: int) -> None:
        if worker in self._lines:
            self._bars.remove_task(self._lines.pop(worker)[1])


def create_console() -> Console:
    """Returns the console on stdout, 160 characters wide where that is no terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = LOG_WIDTH
    return console


def print_line(console: Console, text: str) -> None:
    """Prints a line as it is: no markup, no colours, no breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _shown(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    bars = Progress(*columns, console=console, transient=True)
    if not console.is_terminal:
        yield bars  # never shown: it would write a line at its end
        return
    with bars:
        yield bars
