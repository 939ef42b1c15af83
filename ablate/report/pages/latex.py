"""Formats tables in LaTeX for a paper: booktabs, as wide as a column or, with `wide`, as the page.

Columns of text break their lines to fit. The packages booktabs and tabularx are needed.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.report.pages.table import MINUS, PLUS_MINUS, Column, Row, Table

PREAMBLE = r"\usepackage{booktabs,tabularx}"
MAIN_TABLE = "main"  # name of the short table
_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "%&#$_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", MINUS: "$-$", PLUS_MINUS: r"$\pm$"}
    | {"[": "{[}", "*": "{*}"}  # at the start of a row, an argument of the row break before it
)
_WIDE_COLUMNS = 6  # a table with more is as wide as the page
_LONG_TEXT = 16  # characters; a column with longer text breaks its lines
_WRAPPED = r">{\raggedright\arraybackslash}X"


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


def write_latex_table(table: Table, *, wide: bool | None = None) -> str:
    """Writes the brief columns of a table as a float with caption, label and note.

    Args:
        table: The table.
        wide: Whether it spans both columns of a page with two. By default, if it has more than six.
    """
    columns = [column for column in table.columns if column.brief]
    is_wide = len(columns) > _WIDE_COLUMNS if wide is None else wide
    alignment = "".join(_align(column, table.rows) for column in columns)
    kind, width = ("tabularx", r"{\linewidth}") if _WRAPPED in alignment else ("tabular", "")
    place = "table*" if is_wide else "table"
    lines = (
        rf"\begin{{{place}}}[t]",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        r"\scriptsize" if is_wide and len(columns) > _WIDE_COLUMNS else r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{{kind}}}{width}{{{alignment}}}",
        r"\toprule",
        _join([column.head for column in columns]),
        r"\midrule",
        *(_join([column.format(row) for column in columns]) for row in table.rows),
        r"\bottomrule",
        rf"\end{{{kind}}}",
        r"\par\smallskip\raggedright",
        escape_latex(cut_caption(table)),
        rf"\end{{{place}}}",
    )
    return "\n".join(lines) + "\n"


def _align(column: Column, rows: Sequence[Row]) -> str:
    """Returns how a column is set: numbers to the right, text to the left, broken if long."""
    if not column.text:
        return "r"
    longest = max((len(column.format(row)) for row in rows), default=0)
    return _WRAPPED if longest > _LONG_TEXT else "l"


def _join(cells: Iterable[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"


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
