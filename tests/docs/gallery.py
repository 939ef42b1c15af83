"""Writes the gallery of all maskers, docs/maskers.md: `python -m tests.docs.gallery` (a minute).

The text comes from the docstrings of the maskers, the numbers from docs/maskers.csv. That table and
the pictures are measured and drawn as `ablate zoo` does.
"""

import csv
import inspect
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

import maskers
from ablate.core.records.messages import MaskersReply, ZooRequest
from ablate.report.pages.masker_zoo import MaskerZooPage
from ablate.study.worker_query import list_maskers
from ablate.worker import masker_zoo
from tests.docs.part_text import find_about, find_example, format_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE, TABLE, PICTURES = DOCS / "maskers.md", DOCS / "maskers.csv", DOCS / "images" / "maskers"
GRID = (8, 64)
QUALITY, WIDTH = 70, 960  # pictures are WebP files
HEAD = f"""\
# Gallery of maskers

{len(maskers.__all__)} maskers, drawn and measured on a grid of {GRID[0]} x {GRID[1]} patches, with
their defaults, or with the settings of their example where some are required. Grey: the context,
which the encoder sees. Coloured: the targets, one colour per block. Dark: neither. Each picture
shows three masks; of a masker that changes during training, those at its start, middle and end.
`ablate zoo` draws all of them on your grid (`--grid 1x256`) and your sound (`--audio dog.wav`), and
`ablate zoo my_lab` draws yours; [how to write one](tutorials/own_masker.md).

*Visible* and *predicted* are shares of the grid in percent, with the 1st and 99th percentile over
more than a thousand masks. *Distance*: from a target patch to the nearest visible one, in patches.
*Runs*: consecutive target patches along frequency and along time. *Blocks*: rows x columns that one
target block spans. As a table: [maskers.csv](maskers.csv).
"""
COLUMNS = (
    *("masker", "context", "context_p1", "context_p99", "targets", "targets_p1", "targets_p99"),
    *("distance", "runs_freq", "runs_time", "block_rows", "block_columns"),
)


def measure(names: Iterable[str], folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Draws maskers into a folder; returns their rows of the table, and the files of pictures."""

    def query(request: Any) -> MaskersReply:
        return masker_zoo.list_maskers(request.package)

    first = {}  # a masker may have several examples
    for masker in list_maskers("maskers", query):
        name = masker.name.split()[0]
        first.setdefault(name, replace(masker, name=name))
    chosen = tuple(first[name] for name in names)
    request = ZooRequest(folder=folder, grids=(GRID,), maskers=chosen)
    reply = masker_zoo.draw_zoo(request, lambda _: None)
    [table] = MaskerZooPage("maskers", folder, reply.to_json()).tables
    rows = [
        {key: row[key] if key == "masker" else f"{row[key]:.4f}" for key in COLUMNS}
        for row in table.rows
    ]
    files = [masker.grids[0].masks or "" for masker in reply.maskers]
    return rows, files


def read_table() -> dict[str, dict[str, str]]:
    """Reads docs/maskers.csv, by the name of the masker."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["masker"]: row for row in csv.DictReader(file)}


def format_gallery(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Formats the page: maskers of one module under one heading."""
    modules: dict[Any, list[str]] = {}
    for name in maskers.__all__:
        modules.setdefault(inspect.getmodule(getattr(maskers, name)), []).append(name)
    sections = (
        [f"## {get_title(module)}", *(format_masker(name, rows[name]) for name in names)]
        for module, names in sorted(modules.items(), key=lambda item: get_title(item[0]))
    )
    return "\n\n".join([HEAD.rstrip(), *(text for section in sections for text in section)]) + "\n"


def get_title(module: Any) -> str:
    """Returns the first sentence of a module, shortened to a heading."""
    first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"[:.,]", first)[0]


def format_masker(name: str, row: Mapping[str, str]) -> str:
    """Formats the section of one masker: picture, numbers, YAML, settings and source."""
    part = getattr(maskers, name)
    source = "\n\n".join(find_source(part))
    default = f"masker: {{type: maskers.{name}}}"
    parts = [
        f"### {name}",
        find_about(part),
        f"![Three masks of {name} on a spectrogram](images/maskers/{name}.webp)",
        format_numbers(row),
        f"```yaml\n{find_example(part) or default}\n```",
        format_settings(part),
        f"**Source.** {source}" if source else "",
    ]
    return "\n\n".join(filter(None, parts))


def format_numbers(row: Mapping[str, str]) -> str:
    """Formats the statistics of a masker as a table of one row."""
    number = {key: float(value) for key, value in row.items() if key != "masker"}
    shares = [
        f"{100 * number[key]:.1f} ({100 * number[f'{key}_p1']:.0f} to "
        f"{100 * number[f'{key}_p99']:.0f})"
        for key in ("context", "targets")
    ]
    runs = f"{number['runs_freq']:.1f}; {number['runs_time']:.1f}"
    blocks = f"{number['block_rows']:.1f} x {number['block_columns']:.1f}"
    return (
        "| visible | predicted | distance | runs | blocks |\n|---|---|---|---|---|\n"
        f"| {shares[0]} | {shares[1]} | {number['distance']:.2f} | {runs} | {blocks} |"
    )


def find_source(part: type) -> Iterator[str]:
    """Yields the paragraphs of a masker's module that say where it comes from.

    A paragraph that begins with names of maskers is about these; others are about the module.
    """
    _, *paragraphs = (inspect.getdoc(inspect.getmodule(part)) or "").split("\n\n")
    for paragraph in paragraphs:
        head = re.match(r"(?:`\w+`(?:, | and )?)+(?=:| is | are )", paragraph)
        if head is None or f"`{part.__name__}`" in head[0]:
            is_label = head is not None and paragraph[head.end()] == ":"
            text = paragraph[head.end() + 1 :] if head and is_label else paragraph
            yield link_addresses(" ".join(text.split()))


def link_addresses(text: str) -> str:
    """Makes links of the addresses in a text."""
    return re.sub(r"https?://[^\s,;)]*[\w/]", lambda match: f"<{match[0]}>", text)


def write_gallery(names: Sequence[str] = tuple(maskers.__all__)) -> None:
    """Draws and measures maskers, and writes table, pictures and page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rows, files = measure(names, Path(folder))
        for row, file in zip(rows, files, strict=True):
            with Image.open(Path(folder) / file) as picture:
                size = (WIDTH, round(picture.height * WIDTH / picture.width))
                target = PICTURES / f"{row['masker']}.webp"
                picture.convert("RGB").resize(size).save(target, quality=QUALITY, method=6)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    TABLE.write_text(text.getvalue(), encoding="utf-8")
    PAGE.write_text(format_gallery(read_table()), encoding="utf-8")


if __name__ == "__main__":
    write_gallery()
