"""Builds the overview of a package's maskers: a table per grid, and a self-contained HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.core.io import write_atomically
from ablate.report.pages.html import encode_png, render_template
from ablate.report.pages.table import (
    DASH,
    Column,
    Row,
    Table,
    amount_cell,
    format_number,
    text_cell,
)

AXES = ("freq", "time")
CAPTION = (
    "Shares of the grid in percent, over at least 1,024 masks spread over one training, 64 clips "
    "per batch. Distance: from a target patch to the nearest context patch, in patches, Euclidean "
    "and along each axis. Runs: consecutive target patches. Blocks: rows x columns that a block "
    "spans. Cut: context lost when a batch is cut to its smallest sample; padded: positions left "
    "empty when it is padded to its largest."
)


@dataclass(frozen=True)
class MaskerZooPage:
    """The maskers of a package, measured and drawn."""

    package: str
    folder: Path  # contains the pictures; the page and the tables are written here
    reply: Mapping[str, Any]  # the worker's `ZooReply` as plain data

    @property
    def tables(self) -> list[Table]:
        """The measurements, one table per grid; shares in its rows are in [0, 1]."""
        return [self._build_table(grid) for grid in self.reply["grids"]]

    @property
    def maskers(self) -> Sequence[Mapping[str, Any]]:
        """The worker's entry of each masker; `facts` lists its settings and declared properties."""
        return [{**masker, "facts": _list_facts(masker)} for masker in self.reply["maskers"]]

    @property
    def title(self) -> str:
        """The heading of the page."""
        return f"The maskers in `{self.package}`"

    def list_problems(self, table: Table) -> list[str]:
        """Lists the reasons for rows of a table without numbers."""
        return [f"{row['masker']}: {row['problem']}" for row in table.rows if row["problem"]]

    def encode_picture(self, file: str) -> str:
        """Returns a picture as a `data:` URL, so the page is self-contained."""
        return encode_png(self.folder / file)

    def write(self) -> Path:
        """Writes the page and the tables next to the pictures; returns the path of the page."""
        for table in self.tables:
            write_atomically(self.folder / f"{table.name}.csv", table.to_csv())
        page = self.folder / "index.html"
        write_atomically(page, render_template("zoo.html.j2", {"zoo": self}))
        return page

    def _build_table(self, grid: str) -> Table:
        rows = [_build_row(masker, grid) for masker in self.reply["maskers"]]
        columns = [
            Column(head="masker", format=text_cell("masker"), text=True),
            Column(head="context", format=_percent_cell("context")),
            Column(head="p1 to p99", format=_format_context_range),
            Column(head="targets", format=_percent_cell("targets")),
            Column(head="distance", format=_number_cell("distance", 2)),
            *(
                Column(head=f"in {axis}", format=_number_cell(f"distance_{axis}", 2), brief=False)
                for axis in AXES
            ),
            *(Column(head=f"runs in {axis}", format=_number_cell(f"runs_{axis}")) for axis in AXES),
            Column(head="blocks", format=_format_block_size, brief=False),
            Column(head="cut", format=_percent_cell("truncation_loss")),
            Column(head="padded", format=_percent_cell("padding_waste")),
            Column(head="masks/s", format=amount_cell("masks_per_second")),
        ]
        if any(row["problem"] for row in rows):
            columns.append(
                Column(head="problem", format=text_cell("problem"), text=True, brief=False)
            )
        return Table(
            name=f"zoo-{grid}",
            title=f"On a grid of {grid} patches",
            caption=CAPTION,
            columns=tuple(columns),
            rows=tuple(rows),
        )


def _build_row(masker: Mapping[str, Any], grid: str) -> dict[str, Any]:
    entry = next((entry for entry in masker["grids"] if entry["grid"] == grid), masker)
    row: dict[str, Any] = {"masker": masker["name"], "problem": entry["problem"] or ""}
    figures = entry.get("figures")
    if figures is None:
        return row | dict.fromkeys(_VALUE_NAMES)
    context, targets, distance = (figures[name] for name in ("context", "targets", "distance"))
    values = (
        *(context["mean"], context["p1"], context["p99"]),
        *(targets["mean"], targets["p1"], targets["p99"]),
        *(distance["straight"], distance["freq"], distance["time"]),
        *(_compute_mean(figures[name]) for name in ("freq_runs", "time_runs")),
        *(_compute_mean(figures[name]) for name in ("block_heights", "block_widths")),
        *(figures[name] for name in ("truncation_loss", "padding_waste", "masks_per_second")),
    )
    return row | dict(zip(_VALUE_NAMES, values, strict=True))


_VALUE_NAMES = (
    *("context", "context_p1", "context_p99", "targets", "targets_p1", "targets_p99"),
    *("distance", "distance_freq", "distance_time", "runs_freq", "runs_time", "block_rows"),
    *("block_columns", "truncation_loss", "padding_waste", "masks_per_second"),
)


def _list_facts(masker: Mapping[str, Any]) -> list[str]:
    """Lists a masker's settings and declared properties."""
    if masker["problem"]:
        return []
    settings = {key: value for key, value in masker["settings"].items() if key != "type"}
    facts = [json.dumps(settings).replace('"', "")] if settings else []
    declared = masker["declared"]
    labels = {
        "exact": "exact count",
        "overlap": "context and targets may overlap",
        "coupled": "samples share sizes or masks",
    }
    facts += [label for key, label in labels.items() if declared.get(key)]
    if declared.get("copies", 1) > 1:
        facts.append(f"{declared['copies']} masks per clip")
    if "needs" in declared:
        facts.append(f"needs {declared['needs']}")
    biases = ("uneven", "unvisited", "slow")
    return [*facts, *(f"{key}: {declared[key]}" for key in biases if key in declared)]


def _compute_mean(histogram: Sequence[int]) -> float | None:
    total = sum(histogram)
    return sum(n * count for n, count in enumerate(histogram)) / total if total else None


def _percent_cell(name: str) -> Any:
    return lambda row: DASH if row[name] is None else format_number(100 * row[name])


def _number_cell(name: str, digits: int = 1) -> Any:
    return lambda row: format_number(row[name], digits)


def _format_context_range(row: Row) -> str:
    if row["context"] is None:
        return DASH
    return f"{format_number(100 * row['context_p1'])} to {format_number(100 * row['context_p99'])}"


def _format_block_size(row: Row) -> str:
    if row["block_rows"] is None:
        return DASH
    return f"{format_number(row['block_rows'])} x {format_number(row['block_columns'])}"
