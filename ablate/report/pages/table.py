"""A table is one set of numbers; terminal, Markdown, CSV and LaTeX are ways to show it.

A row holds raw values under plain names, and that is the CSV. A column says how it is shown
to a reader: one column may show two values, such as a mean and its interval.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import rich.box
import rich.table
import rich.text
from great_tables import GT

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DASH = "-"  # what stands where there is no number
COLUMN_GAP = 2  # characters between two columns of a terminal's table
Row = Mapping[str, Any]
CellFormatter = Callable[[Row], str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One shown column: its head, and what it says of a row."""

    head: str
    format: CellFormatter
    text: bool = False  # words stand left, numbers right
    brief: bool = True  # stands in the terminal too, where there is little room


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of raw values with the columns that show them."""

    name: str  # of its files, without a suffix
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]  # of unrounded values, by plain names

    def format_cells(self) -> list[list[str]]:
        """Returns what is shown, row by row."""
        return [[column.format(row) for column in self.columns] for row in self.rows]

    def to_markdown(self, *, brief: bool = False) -> str:
        """Writes the table for GitHub's Markdown, or its `brief` columns."""
        columns = [column for column in self.columns if column.brief or not brief]
        heads = [escape_cell(column.head) for column in columns]
        rules = [":---" if column.text else "---:" for column in columns]
        body = [[escape_cell(column.format(row)) for column in columns] for row in self.rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *body))

    @property
    def has_only_brief_columns(self) -> bool:
        """Tells whether all columns are brief ones."""
        return all(column.brief for column in self.columns)

    def to_csv(self) -> str:
        """Writes the raw values; nothing is rounded."""
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def to_latex(self) -> str:
        """Writes a booktabs table of the brief columns, for which a page has room."""
        brief = [column for column in self.columns if column.brief]
        names = [f"column {number}" for number in range(len(brief))]  # two heads may be the same
        rows = [[column.format(row) for column in brief] for row in self.rows]
        heads: dict[str, Any] = {n: c.head for n, c in zip(names, brief, strict=True)}
        right = [name for name, column in zip(names, brief, strict=True) if not column.text]
        table = GT(pd.DataFrame(rows, columns=names)).cols_label(**heads)
        table = table.tab_header(title=self.title).cols_align("right", columns=right)
        text = str(table.tab_source_note(self.caption).as_latex())
        text = text.replace(MINUS, "$-$").replace(PLUS_MINUS, r"$\pm$")
        return re.sub(r"^([\[*])", r"{\1}", text, flags=re.MULTILINE)  # else a row break's own

    def to_rich(self, width: int) -> rich.table.Table:
        """Returns the brief columns, for a terminal of `width` characters.

        Where that cannot hold the longest words, columns of numbers are left out, the last first.
        """
        brief = [column for column in self.columns if column.brief]
        numbers = [column for column in brief if not column.text]
        while not (fits := sum(map(self._narrowest, brief)) <= width) and len(numbers) > 1:
            brief.remove(numbers.pop())
        table = rich.table.Table(
            title=self.title,
            title_justify="left",
            title_style="bold",
            box=rich.box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for column in brief:
            side: Literal["left", "right"] = "left" if column.text else "right"
            table.add_column(
                rich.text.Text(column.head),
                justify=side,
                no_wrap=not column.text,
                overflow="fold",
                min_width=self._narrowest(column) - COLUMN_GAP if fits else None,
            )
        for row in self.rows:
            table.add_row(*(rich.text.Text(column.format(row)) for column in brief))
        return table

    def _narrowest(self, column: Column) -> int:
        """Counts the characters that a column takes at least, where only words are broken off."""
        cells = [column.head, *map(column.format, self.rows)]
        pieces = [piece for cell in cells for piece in (cell.split() if column.text else [cell])]
        return max(map(len, pieces)) + COLUMN_GAP


def format_number(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Writes a number with so many decimals and a true minus sign; `signed` adds the plus sign."""
    if value is None:
        return DASH
    value = round(value, digits + 6)  # a sum in another order is the same number
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # zero has no sign
    return text.replace("-", MINUS)


def format_interval(low: float | None, high: float | None) -> str:
    """Writes an interval: `[2.1, 6.3]`."""
    return DASH if low is None or high is None else f"[{format_number(low)}, {format_number(high)}]"


def format_share(value: float | None) -> str:
    """Writes a share in [0, 1] as whole percent: `42 %`."""
    return DASH if value is None else f"{100 * value:.0f} %"


def format_p(p: float | None) -> str:
    """Writes a p-value: `0.012`, `<0.001`."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_amount(value: float | None) -> str:
    """Writes a count or another positive quantity in three digits: `600`, `24.0k`, `1.23M`."""
    if value is None:
        return DASH
    for prefix in ("", "k", "M", "G", "T", "P"):
        digits = 0 if value >= 100 or (not prefix and value == int(value)) else 1 + (value < 10)
        if round(value, digits) < 1000:
            return f"{value:.{digits}f}{prefix}"
        value /= 1000
    return f"{value:.0f}E"


def text_cell(name: str) -> CellFormatter:
    """Shows a value as it is, and a dash where there is none."""
    return lambda row: DASH if row[name] in (None, "") else str(row[name])


def number_cell(name: str, digits: int = 1, *, signed: bool = False) -> CellFormatter:
    """Shows the number of that name, as `number` writes it."""
    return lambda row: format_number(row[name], digits, signed=signed)


def share_cell(name: str) -> CellFormatter:
    """Shows the share of that name, as whole percent."""
    return lambda row: format_share(row[name])


def amount_cell(name: str) -> CellFormatter:
    """Shows the quantity of that name, in three digits."""
    return lambda row: format_amount(row[name])


def interval_cell(name: str) -> CellFormatter:
    """Shows the interval of a mean: the values `<name>_low` and `<name>_high`."""
    return lambda row: format_interval(row[f"{name}_low"], row[f"{name}_high"])


def p_cell(name: str) -> CellFormatter:
    """Shows the p-value of that name."""
    return lambda row: format_p(row[name])


def escape_cell(text: str) -> str:
    """Escapes what would end a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
