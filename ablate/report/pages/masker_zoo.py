"""The zoo of maskers as one table a grid, and as one HTML page that needs nothing but itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.core.io import write_atomically
from ablate.report.pages.table import DASH, Column, Row, Table, amount_of, number, plain
from ablate.report.pages.templates import embedded, filled

AXES = ("freq", "time")
CAPTION = (
    "Shares of the grid in percent, over at least 1,024 masks in the course of one training, 64 "
    "clips per batch. Apart: the distance from a target patch to the nearest context patch, in "
    "patches, straight and along each axis. Runs: consecutive target patches. Blocks: rows x "
    "columns that a block spans. Cut: context lost when a batch is cut to its smallest sample; "
    "padded: places left empty when it is padded to its largest."
)


@dataclass(frozen=True)
class Zoo:
    """What a package's maskers look like and amount to."""

    package: str
    folder: Path  # of the pictures, and of what is written
    answer: Mapping[str, Any]  # the worker's, to a request for the zoo

    @property
    def tables(self) -> list[Table]:
        """Returns what was measured, a table a grid; shares are in [0, 1] in its rows."""
        return [self._table(grid) for grid in self.answer["grids"]]

    @property
    def maskers(self) -> Sequence[Mapping[str, Any]]:
        """Returns what the worker says of each masker, and what it declares in `facts`."""
        return [{**masker, "facts": _facts(masker)} for masker in self.answer["maskers"]]

    @property
    def title(self) -> str:
        """Returns the heading of the page."""
        return f"The maskers in `{self.package}`"

    def refusals(self, table: Table) -> list[str]:
        """Says why some rows of a table hold no numbers."""
        return [f"{row['masker']}: {row['refused']}" for row in table.rows if row["refused"]]

    def picture(self, file: str) -> str:
        """Returns a picture as a `data:` address, so that the page needs no other file."""
        return embedded(self.folder / file)

    def write(self) -> Path:
        """Writes the page and the tables beside the pictures; returns the page's path."""
        for table in self.tables:
            write_atomically(self.folder / f"{table.name}.csv", table.csv())
        page = self.folder / "index.html"
        write_atomically(page, filled("zoo.html.j2", {"zoo": self}))
        return page

    def _table(self, grid: str) -> Table:
        rows = [_row(masker, grid) for masker in self.answer["maskers"]]
        columns = [
            Column(head="masker", show=plain("masker"), text=True),
            Column(head="context", show=_percent("context")),
            Column(head="p1 to p99", show=_range),
            Column(head="targets", show=_percent("targets")),
            Column(head="apart", show=_number("apart", 2)),
            *(
                Column(head=f"in {axis}", show=_number(f"apart_{axis}", 2), brief=False)
                for axis in AXES
            ),
            *(Column(head=f"runs in {axis}", show=_number(f"runs_{axis}")) for axis in AXES),
            Column(head="blocks", show=_block, brief=False),
            Column(head="cut", show=_percent("truncation_loss")),
            Column(head="padded", show=_percent("padding_waste")),
            Column(head="masks/s", show=amount_of("masks_per_second")),
        ]
        if any(row["refused"] for row in rows):
            columns.append(Column(head="refused", show=plain("refused"), text=True, brief=False))
        return Table(
            name=f"zoo-{grid}",
            title=f"On a grid of {grid} patches",
            caption=CAPTION,
            columns=tuple(columns),
            rows=tuple(rows),
        )


def _row(masker: Mapping[str, Any], grid: str) -> dict[str, Any]:
    found = next((entry for entry in masker["grids"] if entry["grid"] == grid), masker)
    row: dict[str, Any] = {"masker": masker["name"], "refused": found["refused"] or ""}
    figures = found.get("figures")
    if figures is None:
        return row | dict.fromkeys(_NAMES)
    context, targets, distance = (figures[name] for name in ("context", "targets", "distance"))
    values = (
        *(context["mean"], context["p1"], context["p99"]),
        *(targets["mean"], targets["p1"], targets["p99"]),
        *(distance["straight"], distance["freq"], distance["time"]),
        *(_mean(figures[name]) for name in ("freq_runs", "time_runs")),
        *(_mean(figures[name]) for name in ("block_heights", "block_widths")),
        *(figures[name] for name in ("truncation_loss", "padding_waste", "masks_per_second")),
    )
    return row | dict(zip(_NAMES, values, strict=True))


_NAMES = (
    *("context", "context_p1", "context_p99", "targets", "targets_p1", "targets_p99"),
    *("apart", "apart_freq", "apart_time", "runs_freq", "runs_time", "block_rows"),
    *("block_columns", "truncation_loss", "padding_waste", "masks_per_second"),
)


def _facts(masker: Mapping[str, Any]) -> list[str]:
    """Says how a masker is set and what it declares of itself."""
    if masker["refused"]:
        return []
    settings = {key: value for key, value in masker["settings"].items() if key != "type"}
    facts = [json.dumps(settings).replace('"', "")] if settings else []
    declared = masker["declared"]
    words = {
        "exact": "exact count",
        "overlap": "context and targets may overlap",
        "coupled": "samples share sizes or masks",
    }
    facts += [word for key, word in words.items() if declared.get(key)]
    if declared.get("copies", 1) > 1:
        facts.append(f"{declared['copies']} masks per clip")
    if "needs" in declared:
        facts.append(f"looks at {declared['needs']}")
    biases = ("uneven", "unvisited", "slow")
    return [*facts, *(f"{key}: {declared[key]}" for key in biases if key in declared)]


def _mean(histogram: Sequence[int]) -> float | None:
    total = sum(histogram)
    return sum(n * count for n, count in enumerate(histogram)) / total if total else None


def _percent(name: str) -> Any:
    return lambda row: DASH if row[name] is None else number(100 * row[name])


def _number(name: str, digits: int = 1) -> Any:
    return lambda row: number(row[name], digits)


def _range(row: Row) -> str:
    if row["context"] is None:
        return DASH
    return f"{number(100 * row['context_p1'])} to {number(100 * row['context_p99'])}"


def _block(row: Row) -> str:
    if row["block_rows"] is None:
        return DASH
    return f"{number(row['block_rows'])} x {number(row['block_columns'])}"
