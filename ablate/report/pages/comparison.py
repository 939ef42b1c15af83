"""Writes the page that shows two reports side by side."""

from dataclasses import asdict
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.core.records.findings import Findings, VerdictFinding
from ablate.report.pages.html import render_template
from ablate.report.pages.sentences import CONTRAST_COLUMNS
from ablate.report.pages.table import (
    DASH,
    Column,
    Row,
    Table,
    format_interval,
    format_number,
    text_cell,
)

SIDES = ("first", "second")


def write_comparison_page(file: Path, first: Findings, second: Findings, moved: Table) -> None:
    """Writes two reports side by side: their answers, every contrast, and what moved.

    Args:
        file: The page to write.
        first: Findings of one report.
        second: Findings of the other.
        moved: The table of how far each variant moved.
    """
    names = {
        "reports": (first, second),
        "contrasts": build_contrast_comparison(first, second),
        "moved": moved,
        "name": f"{first.study}-{second.study}",
    }
    write_atomically(file, render_template("comparison.html.j2", names))


def build_contrast_comparison(first: Findings, second: Findings) -> Table:
    """Builds the table of every contrast with its difference and verdict in both reports."""
    sides = [{_get_key(v): v for v in findings.verdicts} for findings in (first, second)]
    keys = dict.fromkeys(key for side in sides for key in side)
    return Table(
        name="contrasts",
        title="Contrasts",
        caption=f"First: {first.study}. Second: {second.study}. Differences in points with their "
        "uncorrected intervals.",
        columns=(
            *CONTRAST_COLUMNS,
            *(column for side in SIDES for column in _build_columns(side)),
            Column(head="same verdict", format=text_cell("same"), text=True),
        ),
        rows=tuple(_build_row(*(side.get(key) for side in sides)) for key in keys),
    )


def _get_key(verdict: VerdictFinding) -> tuple[str, ...]:
    return verdict.family, verdict.factor, verdict.level, verdict.against, verdict.where


def _build_columns(side: str) -> tuple[Column, Column]:
    def format_difference(row: Row) -> str:
        mean = row[f"{side}_difference"]
        if mean is None:
            return DASH
        interval = format_interval(row[f"{side}_low"], row[f"{side}_high"])
        return f"{format_number(mean, signed=True)} {interval}"

    return (
        Column(head=side, format=format_difference),
        Column(head="verdict", format=text_cell(f"{side}_verdict"), text=True),
    )


def _build_row(first: VerdictFinding | None, second: VerdictFinding | None) -> Row:
    either = first or second
    assert either is not None, "a contrast is in one of the two reports"
    fields = asdict(either)
    row = {name: fields[name] for name in ("family", "factor", "level", "against", "where")}
    for side, verdict in zip(SIDES, (first, second), strict=True):
        row[f"{side}_difference"] = verdict and verdict.difference
        row[f"{side}_low"] = verdict and verdict.difference_low
        row[f"{side}_high"] = verdict and verdict.difference_high
        row[f"{side}_verdict"] = verdict and verdict.verdict.split(":")[0]
    words = [row[f"{side}_verdict"] for side in SIDES]
    row["same"] = "only in one" if None in words else "yes" if words[0] == words[1] else "no"
    return row
