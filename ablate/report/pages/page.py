"""Writes the report as one self-contained HTML page, and as Markdown."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ablate.core.records.plan import StudyPlan
from ablate.report.figures.style import Picture
from ablate.report.pages.classes import Matrix
from ablate.report.pages.escaping import escape_markdown, fence
from ablate.report.pages.glossary import GLOSSARY
from ablate.report.pages.html import encode_png, render_template
from ablate.report.pages.sentences import Sentence
from ablate.report.pages.table import Table, escape_cell, format_share

GALLERY_LEGEND = (
    "Grey: the context. Coloured: the targets, one colour per block. Dark: neither. Each picture "
    "shows three masks with their shares of the grid, as the encoder receives them: cut to the "
    "smallest of the batch if the batching does so. For a masker that changes during training they "
    "are from its start, middle and end (progress 0, 0.5 and 1)."
)


@dataclass(frozen=True, kw_only=True)
class GalleryTile:
    """One mask picture of the gallery: a masker on a patchifier's grid."""

    masker: str  # name of the level, or `baseline`
    patchifier: str
    path: Path  # PNG file
    caption: str

    @property
    def data(self) -> str:
        """The picture as a `data:` URL, so the page is self-contained."""
        return encode_png(self.path)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Mask pictures on one clip: one row per masker, one column per patchifier."""

    title: str
    patchifiers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[GalleryTile | None, ...]], ...]


@dataclass(frozen=True)
class Section:
    """A section of the page: a picture, a table of the same numbers, or both.

    A section that is `folded` shows only its title until it is opened.
    """

    picture: Picture | None
    table: Table | None
    folded: bool = False
    matrices: tuple[Matrix, ...] = ()

    @property
    def has_content(self) -> bool:
        """Whether the section has a picture or a table with rows."""
        return self.picture is not None or bool(self.table and self.table.rows)

    @property
    def title(self) -> str:
        """The title of the picture, or of the table in a section without a picture."""
        if self.picture is not None:
            return self.picture.title
        return self.table.title if self.table else ""

    @property
    def anchor(self) -> str:
        """The identifier of the section on the page."""
        if self.table is not None:
            return f"table-{self.table.name}"
        return f"figure-{self.picture.name}" if self.picture else ""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """The content of the page in reading order; the answer to the question comes first."""

    study: str
    title: str
    description: str  # by the author of the study
    lead: str  # what the study did, in plain words
    answer: Sequence[str]  # one sentence per factor
    summary: str
    first: Section
    notes: Mapping[str, str]  # level -> its meaning
    sentences: Sequence[Sentence]
    meanings: Mapping[str, str]  # word of a verdict -> its meaning
    caveats: Sequence[str]
    sections: Sequence[Section]
    gallery: Gallery | None
    protocol: Sequence[str]
    text: str  # YAML of the study

    @property
    def pictures(self) -> list[Picture]:
        """The pictures of all sections."""
        pictures = [section.picture for section in (self.first, *self.sections)]
        return [picture for picture in pictures if picture is not None]

    @property
    def tables(self) -> list[Table]:
        """The tables of all sections, including empty ones."""
        tables = [section.table for section in (self.first, *self.sections)]
        return [table for table in tables if table is not None]

    def to_html(self) -> str:
        """Formats the page as one self-contained HTML file."""
        names = {"page": self, "legend": GALLERY_LEGEND, "glossary": GLOSSARY}
        return render_template("page.html.j2", names)

    def to_markdown(self, folder: Path) -> str:
        """Formats the report as Markdown, for example to show it on GitHub.

        `folder` is the folder of the report. Figures are linked in its `figures/`, mask pictures
        at their own paths.
        """
        answers = (f"**{escape_markdown(line)}**" for line in self.answer)
        described = [escape_markdown(self.description)] if self.description else []
        pieces = [f"# {escape_markdown(self.title)}", *described, escape_markdown(self.lead)]
        pieces += [*answers, escape_markdown(self.summary)]
        pieces += _format_section(self.first)
        pieces += [format_notes(self.notes)] if self.notes else []
        pieces += [
            "## Verdicts",
            "\n".join(
                f"- **{s.word}** {escape_markdown(f'{s.claim} ({s.numbers})')}."
                for s in self.sentences
            )
            or "There is nothing to compare.",
            "\n".join(f"- *{word}*: {meaning}." for word, meaning in self.meanings.items()),
        ]
        if self.caveats:
            lines = (f"- {escape_markdown(line)}" for line in self.caveats)
            pieces += ["## Caveats", "\n".join(lines)]
        for section in self.sections:
            pieces += _format_section(section)
        if self.gallery:
            pieces += [
                "## Mask gallery",
                escape_markdown(self.gallery.title),
                _format_gallery(self.gallery, folder),
            ]
            pieces += [GALLERY_LEGEND]
        pieces += ["## Experimental protocol", *map(escape_markdown, self.protocol)]
        pieces += ["## Study", fence(self.text, "yaml")]
        return "\n\n".join(pieces) + "\n"


def build_gallery(plan: StudyPlan, folder: Path) -> Gallery | None:
    """Arranges the existing mask pictures that the plan lists; None without any.

    Pictures are searched for in `folder`, the folder of the report, first.
    """
    if plan.gallery is None:
        return None
    tiles: dict[tuple[str, str], GalleryTile] = {}
    for picture in plan.gallery.pictures:
        path = _find_picture(folder, Path(plan.gallery.folder) / picture.file)
        if path is not None:
            key = (picture.masker, picture.patchifier)
            context, targets = map(format_share, (picture.context, picture.targets))
            shares = f"context {context}, targets {targets}"
            tiles[key] = GalleryTile(masker=key[0], patchifier=key[1], path=path, caption=shares)
    if not tiles:
        return None
    columns = tuple(dict.fromkeys(patchifier for _, patchifier in tiles))
    rows = dict.fromkeys(masker for masker, _ in tiles)
    return Gallery(
        title=plan.gallery.title,
        patchifiers=columns,
        rows=tuple((row, tuple(tiles.get((row, column)) for column in columns)) for row in rows),
    )


def format_notes(notes: Mapping[str, str]) -> str:
    """Formats the notes on levels as a Markdown list."""
    lines = (f"- `{level}`: {note}" for level, note in notes.items())
    return "\n".join(map(escape_markdown, lines))


def _find_picture(folder: Path, path: Path) -> Path | None:
    """Returns the existing path of a picture; first next to the report, which may have moved."""
    return next((p for p in (folder / path, path) if p.is_file()), None)


def _format_section(section: Section) -> list[str]:
    pieces = [f"## {section.title}"] if section.has_content else []
    if picture := section.picture:
        title, caption = escape_markdown(picture.title), escape_markdown(picture.caption)
        pieces += [f"![{title}](figures/{picture.name}.png)", caption]
    if (table := section.table) and table.rows:
        pieces += [table.to_markdown(brief=True), escape_markdown(table.caption)]
        if not table.has_only_brief_columns:
            details = f"<details><summary>{table.title}: all columns</summary>"
            pieces += [details, table.to_markdown(), "</details>"]
    if section.folded and section.has_content:
        title, *rest = pieces
        return [title, "<details><summary>show</summary>", *rest, "</details>"]
    return pieces


def _format_gallery(gallery: Gallery, folder: Path) -> str:
    lines = [
        ["", *map(escape_cell, gallery.patchifiers)],
        [":---"] * (1 + len(gallery.patchifiers)),
    ]
    for masker, tiles in gallery.rows:
        links = [
            quote(Path(os.path.relpath(tile.path, folder)).as_posix()) if tile else ""
            for tile in tiles
        ]
        cells = [
            f"![{escape_cell(tile.caption)}]({link})" if tile else ""
            for tile, link in zip(tiles, links, strict=True)
        ]
        lines.append([escape_cell(masker), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
