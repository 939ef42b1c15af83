"""Tables of results, written to the terminal, Markdown and CSV; formatting of numbers.

A row holds unrounded values by name; these are written to CSV. A column formats the values of a
row for readers and may combine several, such as a mean and its interval.
"""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import rich.box
import rich.table
import rich.text

from ablate.report.pages.escaping import escape_markdown, neutralise_formula

MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DASH = "-"  # shown for a missing value
MAX_TERMINAL_ROWS = 100
ERROR_LEVELS = (0.005, 0.01, 0.025, 0.05, 0.1)  # common ones, that p-values are compared with
COLUMN_GAP = 2  # characters between two columns in the terminal
Row = Mapping[str, Any]
CellFormatter = Callable[[Row], str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its head, and how it formats a row."""

    head: str
    format: CellFormatter
    text: bool = False  # text is left-aligned, numbers are right-aligned
    brief: bool = True  # also shown in the terminal, in LaTeX and in the short Markdown table


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of unrounded values, and the columns that format them."""

    name: str  # file name without suffix
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def format_cells(self) -> list[list[str]]:
        """Returns the formatted cells, row by row."""
        return [[column.format(row) for column in self.columns] for row in self.rows]

    def to_markdown(self, *, brief: bool = False) -> str:
        """Formats the table in GitHub's Markdown, with all columns or only the `brief` ones."""
        columns = [column for column in self.columns if column.brief or not brief]
        heads = [column.head.replace("|", "\\|") for column in columns]  # may hold links
        rules = [":---" if column.text else "---:" for column in columns]
        body = [[escape_cell(column.format(row)) for column in columns] for row in self.rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *body))

    @property
    def has_only_brief_columns(self) -> bool:
        """Whether all columns are brief."""
        return all(column.brief for column in self.columns)

    def to_csv(self) -> str:
        """Formats the unrounded values as CSV."""
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: neutralise_formula(value) for name, value in row.items()})
        return text.getvalue()

    def to_rich(self, width: int) -> rich.table.Table:
        """Builds a table of the brief columns for a terminal of `width` characters.

        If the longest words do not fit, columns of numbers are left out, starting from the last.
        Of more than `MAX_TERMINAL_ROWS` rows, the first are shown.
        """
        if (left_out := len(self.rows) - MAX_TERMINAL_ROWS) > 0:
            table = replace(self, rows=self.rows[:MAX_TERMINAL_ROWS]).to_rich(width)
            table.caption = f"and {left_out} more in tables/{self.name}.csv"
            table.caption_justify = "left"
            return table
        brief = [column for column in self.columns if column.brief]
        numbers = [column for column in brief if not column.text]
        while not (fits := sum(map(self._get_min_width, brief)) <= width) and len(numbers) > 1:
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
                min_width=self._get_min_width(column) - COLUMN_GAP if fits else None,
            )
        for row in self.rows:
            table.add_row(*(rich.text.Text(column.format(row)) for column in brief))
        return table

    def _get_min_width(self, column: Column) -> int:
        """Returns the minimum width of a column, in characters, without breaking words."""
        cells = [column.head, *map(column.format, self.rows)]
        pieces = [piece for cell in cells for piece in (cell.split() if column.text else [cell])]
        return max(map(len, pieces)) + COLUMN_GAP


def format_number(value: float | None, digits: int = 1, *, signed: bool = False) -> str:
    """Formats a number with a typographic minus sign; `signed` also adds a plus sign."""
    if value is None:
        return DASH
    value = round(value, digits + 6)  # independent of the order of summation
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # zero has no sign
    return text.replace("-", MINUS)


def format_interval(low: float | None, high: float | None) -> str:
    """Formats an interval: `[2.1, 6.3]`."""
    return DASH if low is None or high is None else f"[{format_number(low)}, {format_number(high)}]"


def format_share(value: float | None) -> str:
    """Formats a share in [0, 1] as whole percent: `42 %`."""
    return DASH if value is None else f"{100 * value:.0f} %"


def format_p(p: float | None) -> str:
    """Formats a p-value: `0.012`, `<0.001`, or `0.0501` where 0.050 would hide the side of 0.05."""
    if p is None:
        return DASH
    if p < 0.001:
        return "<0.001"
    rounded = round(p, 3)
    if rounded not in ERROR_LEVELS or p == rounded:
        return f"{p:.3f}"
    longer = (f"{p:.{digits}f}" for digits in (4, 5))
    side = "<" if p < rounded else ">"
    return next((text for text in longer if float(text) != rounded), f"{side}{rounded:.3f}")


def format_amount(value: float | None) -> str:
    """Formats a positive quantity with three digits: `600`, `24.0k`, `1.23M`."""
    if value is None:
        return DASH
    for prefix in ("", "k", "M", "G", "T", "P"):
        digits = 0 if value >= 100 or (not prefix and value == int(value)) else 1 + (value < 10)
        if round(value, digits) < 1000:
            return f"{value:.{digits}f}{prefix}"
        value /= 1000
    return f"{value:.0f}E"


def text_cell(name: str) -> CellFormatter:
    """Returns a formatter of the value `name`; a missing value is a dash."""
    return lambda row: DASH if row[name] in (None, "") else str(row[name])


def number_cell(name: str, digits: int = 1, *, signed: bool = False) -> CellFormatter:
    """Returns a formatter of the number `name`."""
    return lambda row: format_number(row[name], digits, signed=signed)


def share_cell(name: str) -> CellFormatter:
    """Returns a formatter of the share `name`, as whole percent."""
    return lambda row: format_share(row[name])


def amount_cell(name: str) -> CellFormatter:
    """Returns a formatter of the quantity `name`, with three digits."""
    return lambda row: format_amount(row[name])


def interval_cell(name: str) -> CellFormatter:
    """Returns a formatter of the interval from `<name>_low` to `<name>_high`."""
    return lambda row: format_interval(row[f"{name}_low"], row[f"{name}_high"])


def p_cell(name: str) -> CellFormatter:
    """Returns a formatter of the p-value `name`."""
    return lambda row: format_p(row[name])


def escape_cell(text: str) -> str:
    """Escapes markup, and characters that would end a cell of a Markdown table."""
    return escape_markdown(text).replace("|", "\\|").replace("\n", " ")
