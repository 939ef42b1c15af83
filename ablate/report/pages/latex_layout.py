"""Arranges wide and long tables so that they fit the pages of a paper.

Widths are estimated from the letters of Computer Modern, LaTeX's default; most other fonts of
papers are narrower. Columns that do not fit beside each other go into a further panel below, which
repeats the first columns of text. Rows that do not fit on a page go into a further table.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ablate.report.pages.table import MINUS, PLUS_MINUS, Column, Row

COLUMN_POINTS = 227.0  # width of a column of a page with two, in LaTeX's article
PAGE_POINTS = 345.0  # width of a page with one column
GAP_POINTS = 6.0  # between two columns
PAGE_LINES = 54  # a table may have on its page, beside caption and note
HEAD_LINES = 3  # lines of a panel: heads in two lines, rules, and the space above
LONG_TEXT = 16  # characters; a column of text with longer cells breaks its lines
PIECE = 12  # characters after which a word may be broken
_NARROW, _BROAD = set(".,:;'|!iIjl()[]/ -"), set(f"mwMW%+@={MINUS}{PLUS_MINUS}")
_SMALL = 7 / 8  # size of \scriptsize relative to \footnotesize


@dataclass(frozen=True)
class TableLayout:
    """How a table is set: its width, its letters, and the columns of each panel."""

    is_wide: bool  # as wide as the page instead of a column
    is_small: bool  # in \scriptsize instead of \footnotesize
    panels: tuple[tuple[Column, ...], ...]


def arrange_columns(
    columns: Sequence[Column], rows: Sequence[Row], *, wide: bool | None
) -> TableLayout:
    """Arranges columns in panels that fit; by default, as wide as they need to be."""
    points = _estimate_points(columns, rows)
    is_wide = points > COLUMN_POINTS if wide is None else wide
    limit = PAGE_POINTS if is_wide else COLUMN_POINTS
    is_small = points > limit
    scale = _SMALL if is_small else 1.0
    first = next((i for i, column in enumerate(columns) if not column.text), len(columns))
    repeated, panels = tuple(columns[:first]), [tuple(columns[:first])]
    for column in columns[first:]:
        wider = (*panels[-1], column)
        too_wide = scale * _estimate_points(wider, rows) > limit
        if too_wide and panels[-1] != repeated:
            panels.append((*repeated, column))
        else:
            panels[-1] = wider
    return TableLayout(is_wide, is_small, tuple(panels))


def split_rows(layout: TableLayout, rows: Sequence[Row]) -> list[list[Row]]:
    """Splits rows into equally long groups that fit on a page each, with all panels."""
    by_panel = [_count_lines(panel, rows, layout) for panel in layout.panels]
    lines = [sum(counts) for counts in zip(*by_panel, strict=True)]
    fitting = max(PAGE_LINES - HEAD_LINES * len(layout.panels), 1)
    num_pages = math.ceil(sum(lines) / fitting)
    parts: list[list[Row]] = [[]]
    before = 0
    for row, count in zip(rows, lines, strict=True):
        # a part ends where its share of all lines is reached
        if before * num_pages >= len(parts) * sum(lines):
            parts.append([])
        parts[-1].append(row)
        before += count
    return parts


def compute_weights(columns: Sequence[Column], rows: Sequence[Row]) -> list[float]:
    """Computes how wide columns that break their lines are, relative to their mean; else 1."""
    wrapped = [is_wrapped(column, rows) for column in columns]
    longest = [
        min(max(max(_measure(column.format(row)) for row in rows), 60.0), 180.0) if breaks else 0.0
        for column, breaks in zip(columns, wrapped, strict=True)
    ]
    mean = sum(longest) / max(sum(wrapped), 1)
    return [
        length / mean if breaks else 1.0 for length, breaks in zip(longest, wrapped, strict=True)
    ]


def is_wrapped(column: Column, rows: Sequence[Row]) -> bool:
    """Checks whether a column breaks its lines: text with long cells."""
    return column.text and any(len(column.format(row)) > LONG_TEXT for row in rows)


def split_head(head: str) -> list[str]:
    """Splits a head into lines, at spaces and after dots, so that it is hardly wider than cells."""
    words = re.split(r" |(?<=[a-z]\.)(?=[a-z])", head)
    lines = [words[0]]
    for word in words[1:]:
        joined = lines[-1] + ("" if lines[-1].endswith(".") else " ") + word
        if len(joined) > PIECE:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def split_word(word: str) -> list[str]:
    """Splits a long word where it may be broken: after a sign, or else anywhere."""
    if len(word) <= PIECE:
        return [word]
    pieces = [""]
    for letter in word:
        if len(pieces[-1]) >= PIECE or (pieces[-1] and not pieces[-1][-1].isalnum()):
            pieces.append("")
        pieces[-1] += letter
    return pieces


def _estimate_points(columns: Sequence[Column], rows: Sequence[Row]) -> float:
    """Estimates the least width of columns with their gaps, in points at \\footnotesize."""
    weights = compute_weights(columns, rows)
    fixed, mean, num_wrapped = 0.0, 0.0, 0
    for column, weight in zip(columns, weights, strict=True):
        least = _measure_column(column, rows)
        if is_wrapped(column, rows):
            num_wrapped, mean = num_wrapped + 1, max(mean, least / weight)
        else:
            fixed += least
    return fixed + num_wrapped * mean + len(columns) * GAP_POINTS


def _measure_column(column: Column, rows: Sequence[Row]) -> float:
    cells = [column.format(row) for row in rows]
    if is_wrapped(column, rows):
        cells = [piece for cell in cells for word in cell.split() for piece in split_word(word)]
    return max(map(_measure, [*cells, *split_head(column.head)]), default=0.0)


def _measure(text: str) -> float:
    """Estimates the width of a text in points at \\footnotesize."""
    return sum(
        2.8 if letter in _NARROW else 7.4 if letter in _BROAD else 6.3 if letter.isupper() else 4.7
        for letter in text
    )


def _count_lines(panel: Sequence[Column], rows: Sequence[Row], layout: TableLayout) -> list[int]:
    """Estimates the lines that each row takes in a panel."""
    weights = compute_weights(panel, rows)
    wrapped = [
        (column, weight)
        for column, weight in zip(panel, weights, strict=True)
        if is_wrapped(column, rows)
    ]
    if not wrapped:
        return [1] * len(rows)
    scale = _SMALL if layout.is_small else 1.0
    fixed = [column for column in panel if not is_wrapped(column, rows)]
    limit = (PAGE_POINTS if layout.is_wide else COLUMN_POINTS) / scale
    mean = (limit - _estimate_points(fixed, rows)) / len(wrapped) - GAP_POINTS
    return [
        max(
            math.ceil(_measure(column.format(row)) / max(weight * mean, 1.0))
            for column, weight in wrapped
        )
        for row in rows
    ]
