"""Long requests are printed by a bar on a terminal, and by lines elsewhere."""

import io
import re

from rich.console import Console

from ablate.core.records.messages import ProgressMessage
from ablate.executors.progress import progress_bar, show_progress
from ablate.runs.job import RunJob


def list_lines(*messages: ProgressMessage, continued: bool = False) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=80)
    with progress_bar(console, "planning x", continued=continued) as on_progress:
        for message in messages:
            on_progress(message)
    return file.getvalue().splitlines()


def test_a_log_has_a_line_as_soon_as_a_long_request_begins() -> None:
    assert list_lines() == ["planning x ..."]
    assert list_lines(continued=True) == []


def test_a_log_has_a_line_per_quarter() -> None:
    messages = [ProgressMessage(done=done, total=100, label="clips") for done in range(101)]
    lines = list_lines(*messages)[1:]
    assert lines == [f"planning x: {done} of 100 clips" for done in (25, 50, 75, 100)]


def test_a_request_of_unknown_length_has_no_quarters() -> None:
    messages = ProgressMessage(label="rounds"), ProgressMessage(done=3, total=0)
    assert list_lines(*messages) == ["planning x ..."]


def test_a_terminal_has_a_bar_with_the_label_and_the_count() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with progress_bar(console, "planning x") as on_progress:
        on_progress(ProgressMessage(done=3, total=9, label="clips"))
    assert "planning x: clips" in file.getvalue()
    assert "3/9" in file.getvalue()


def test_a_terminal_shows_step_loss_rate_and_remaining_time_of_a_training(tmp_path) -> None:
    file = io.StringIO()
    console = Console(file=file, width=160, force_terminal=True)
    job = RunJob(folder=tmp_path, title="random, seed 0", probes={})
    with show_progress(console, 3, lambda job: None) as display:
        for step in range(0, 500, 50):
            message = ProgressMessage(label="train", done=step, total=1500, loss=0.12345)
            display.on_progress(0, job, message)
    printed = file.getvalue()
    assert "random, seed 0: train" in printed
    assert "450/1500" in printed
    assert "loss 0.1235" in printed or "loss 0.1234" in printed
    assert re.search(r"[\d.e+]+/s", printed)
