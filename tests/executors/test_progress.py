"""What a person sees of a long answer."""

import io

from rich.console import Console

from ablate.executors.progress import progress_bar


def said(*events: dict[str, object], goes_on: bool = False) -> list[str]:
    file = io.StringIO()
    with progress_bar(Console(file=file, width=80), "planning x", goes_on=goes_on) as heard:
        for event in events:
            heard(event)
    return file.getvalue().splitlines()


def test_a_log_says_at_once_that_a_long_answer_has_begun() -> None:
    assert said() == ["planning x ..."]
    assert said(goes_on=True) == []


def test_a_log_has_a_line_a_quarter() -> None:
    events = [{"done": done, "total": 100, "label": "clips"} for done in range(101)]
    assert said(*events)[1:] == [f"planning x: {done} of 100 clips" for done in (25, 50, 75, 100)]


def test_an_answer_of_unknown_length_is_no_quarter() -> None:
    assert said({"label": "rounds"}, {"done": 3, "total": 0}) == ["planning x ..."]


def test_a_terminal_is_shown_what_is_counted() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with progress_bar(console, "planning x") as heard:
        heard({"done": 3, "total": 9, "label": "clips"})
    assert "planning x: clips" in file.getvalue()
    assert "3/9" in file.getvalue()
