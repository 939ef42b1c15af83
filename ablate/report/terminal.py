"""Prints the verdicts of a report in a terminal. Imports no library that is slow to import."""

from collections.abc import Sequence
from pathlib import Path

import rich.console
import rich.table
import rich.text

from ablate.core.records.report_state import PrintedVerdict

COLOURS = {
    "better": "bold blue",
    "worse": "bold red",
    "equivalent": "bold green",
    "undecided": "bold yellow",
    "differs": "bold magenta",
}


def print_verdicts(
    console: rich.console.Console,
    verdicts: Sequence[PrintedVerdict],
    caveats: Sequence[str],
    page: Path,
) -> None:
    """Prints the verdicts, what weakens them, and the path of the page."""
    lines = rich.table.Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column()
    for verdict in verdicts:
        word = rich.text.Text(verdict.word, style=COLOURS[verdict.word])
        lines.add_row(word, rich.text.Text(verdict.text))
    for caveat in caveats:
        lines.add_row(rich.text.Text("note", style="dim"), rich.text.Text(caveat, style="dim"))
    console.print(lines)
    console.print(rich.text.Text(f"\n{page}"), soft_wrap=True)
