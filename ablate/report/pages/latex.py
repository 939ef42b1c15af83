"""Formats tables in LaTeX for a paper: booktabs, as wide as a column or, with `wide`, as the page.

Columns of text break their lines to fit. The packages booktabs and tabularx are needed.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ablate.core.io import write_atomically
from ablate.report.pages.latex_layout import (
    arrange_columns,
    compute_weights,
    is_wrapped,
    split_head,
    split_rows,
    split_word,
)
from ablate.report.pages.table import MINUS, PLUS_MINUS, Column, Row, Table

PREAMBLE = r"\usepackage{booktabs,tabularx}"
MAIN_TABLE = "main"  # name of the short table
_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "%&#$_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", MINUS: "$-$", PLUS_MINUS: r"$\pm$"}
    | {"[": "{[}", "*": "{*}"}  # at the start of a row, an argument of the row break before it
)


def write_latex_tables(tables: Iterable[Table], main: Table, folder: Path) -> None:
    """Writes `<name>.tex` for every table with rows, and the main one in both widths."""
    for table in tables:
        if table.rows:
            write_atomically(folder / f"{table.name}.tex", write_latex_table(table))
    if main.rows:
        write_atomically(folder / f"{main.name}.tex", write_latex_table(main, wide=False))
        write_atomically(folder / f"{main.name}-wide.tex", write_latex_table(main, wide=True))


def read_main_table(folder: Path) -> str:
    """Reads the main table of a report, with comments on how to use it and on the others."""
    file = folder / f"{MAIN_TABLE}.tex"
    others = f"% both columns of a page: {MAIN_TABLE}-wide.tex; more tables: {folder}/*.tex"
    if not file.is_file():
        return "% no contrast has a score yet, so there is no table"
    return f"% {PREAMBLE}\n{others}\n{file.read_text(encoding='utf-8')}"


class _SetColumn(NamedTuple):
    """A column, and how it is set."""

    column: Column
    is_wrapped: bool  # whether it breaks its lines
    weight: float  # its width relative to the mean of those that do


def write_latex_table(table: Table, *, wide: bool | None = None) -> str:
    """Writes the brief columns of a table as a float with caption, label and note.

    Columns that do not fit beside each other are set in panels below each other, and rows that do
    not fit on a page in further floats.

    Args:
        table: The table.
        wide: Whether it spans both columns of a page with two. By default, if it has to.
    """
    columns = [column for column in table.columns if column.brief]
    layout = arrange_columns(columns, table.rows, wide=wide)
    parts = split_rows(layout, table.rows)
    set_panels = [_set_columns(panel, table.rows) for panel in layout.panels]
    place = "table*" if layout.is_wide else "table"
    floats = []
    for number, rows in enumerate(parts, start=1):
        count = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        panels = [_write_panel(columns, rows) for columns in set_panels]
        lines = (
            rf"\begin{{{place}}}[tp]",
            r"\centering",
            r"\setlength{\belowcaptionskip}{4pt}",
            rf"\caption{{{escape_latex(table.title + count)}}}",
            rf"\label{{tab:{table.name}{f'-{number}' * (number > 1)}}}",
            r"\scriptsize" if layout.is_small else r"\footnotesize",
            r"\setlength{\tabcolsep}{3pt}",
            "\n\\par\\medskip\n".join(panels),
            *(
                [r"\par\smallskip\raggedright", escape_latex(cut_caption(table))]
                if number == 1
                else []
            ),
            rf"\end{{{place}}}",
        )
        floats.append("\n".join(lines) + "\n")
    return "\n".join(floats)


def _set_columns(columns: Sequence[Column], rows: Sequence[Row]) -> list[_SetColumn]:
    """Decides by all rows how each column is set, once for all parts of a table."""
    weights = compute_weights(columns, rows)
    return [
        _SetColumn(column, is_wrapped(column, rows), weight)
        for column, weight in zip(columns, weights, strict=True)
    ]


def _write_panel(columns: Sequence[_SetColumn], rows: Sequence[Row]) -> str:
    """Writes some columns of some rows."""
    alignment = "".join(map(_align, columns))
    kind, width = ("tabularx", r"{\linewidth}") if "X" in alignment else ("tabular", "")
    return "\n".join(
        (
            rf"\begin{{{kind}}}{width}{{{alignment}}}",
            r"\toprule",
            _join(_write_head(one.column) for one in columns),
            r"\midrule",
            *(_join(_write_cell(one, row) for one in columns) for row in rows),
            r"\bottomrule",
            rf"\end{{{kind}}}",
        )
    )


def _align(one: _SetColumn) -> str:
    """Returns how a column is set: numbers to the right, text to the left, broken if long."""
    if not one.column.text:
        return "r"
    if not one.is_wrapped:
        return "l"
    return rf">{{\hsize={one.weight:.3f}\hsize\raggedright\arraybackslash}}X"


def _write_head(column: Column) -> str:
    lines = [escape_latex(line) for line in split_head(column.head)]
    if len(lines) == 1:
        return lines[0]
    side, broken = "l" if column.text else "r", r" \\ ".join(lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{broken}\end{{tabular}}"


def _write_cell(one: _SetColumn, row: Row) -> str:
    text = one.column.format(row)
    if not one.is_wrapped:
        return escape_latex(text)
    words = [r"\allowbreak{}".join(map(escape_latex, split_word(word))) for word in text.split()]
    return " ".join(words)


def _join(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def cut_caption(table: Table) -> str:
    """Returns the caption without the sentences that explain columns that are not brief.

    Such a sentence begins with the head of its column and a colon.
    """
    hidden = tuple(f"{column.head}:".lower() for column in table.columns if not column.brief)
    sentences = re.split(r"(?<=\.) (?=[A-Za-z])", table.caption)
    return " ".join(each for each in sentences if not each.lower().startswith(hidden))


def escape_latex(text: str) -> str:
    """Escapes the characters that have a meaning in LaTeX."""
    return text.translate(_ESCAPES)
