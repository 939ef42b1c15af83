"""The report as one HTML page that needs nothing but itself, and as Markdown."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup, escape

from ablate.core.records.plan import StudyPlan
from ablate.report.figures.style import Picture
from ablate.report.pages.sentences import Sentence
from ablate.report.pages.table import Table, escape_cell, format_share
from ablate.report.pages.templates import encode_png, render_template

GALLERY_LEGEND = (
    "Grey: the context. Coloured: the targets, one colour per block. Dark: neither. Each picture "
    "shows three draws with their shares of the grid, as the encoder sees them: where batching "
    "cuts masks to the smallest of a batch, they are cut. Of a masker that changes in the course "
    "of training they are from its start, middle and end (progress 0, 0.5 and 1)."
)


@dataclass(frozen=True, kw_only=True)
class GalleryTile:
    """One mask picture of the gallery: a masker on a patchifier's grid."""

    masker: str  # its label, or `baseline`
    patchifier: str
    path: Path  # of a PNG
    caption: str

    @property
    def data(self) -> str:
        """Returns the picture as a `data:` address, so that the page needs no other file."""
        return encode_png(self.path)


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Every masker on the same clip: a row a masker, a column a patchifier."""

    title: str
    patchifiers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[GalleryTile | None, ...]], ...]


@dataclass(frozen=True)
class Section:
    """A picture and the table of the same numbers, or one of the two."""

    picture: Picture | None
    table: Table | None

    @property
    def has_content(self) -> bool:
        """Says whether there is anything to show."""
        return self.picture is not None or bool(self.table and self.table.rows)

    @property
    def title(self) -> str:
        """Returns the picture's title, or the table's where there is no picture."""
        if self.picture is not None:
            return self.picture.title
        return self.table.title if self.table else ""

    @property
    def anchor(self) -> str:
        """Names the section's place on the page."""
        if self.table is not None:
            return f"table-{self.table.name}"
        return f"figure-{self.picture.name}" if self.picture else ""


@dataclass(frozen=True, kw_only=True)
class ReportPage:
    """All that the page shows, in reading order; what answers the question stands first."""

    title: str
    answer: Sequence[str]  # a sentence a factor
    summary: str
    first: Section
    notes: Mapping[str, str]  # level -> what it means
    sentences: Sequence[Sentence]
    caveats: Sequence[str]
    sections: Sequence[Section]
    gallery: Gallery | None
    methods: Sequence[str]
    text: str

    @property
    def pictures(self) -> list[Picture]:
        """Returns the pictures of all sections."""
        found = [section.picture for section in (self.first, *self.sections)]
        return [picture for picture in found if picture is not None]

    @property
    def tables(self) -> list[Table]:
        """Returns the tables of all sections, empty ones too."""
        found = [section.table for section in (self.first, *self.sections)]
        return [table for table in found if table is not None]

    def to_html(self) -> str:
        """Writes the page as one HTML file that needs no other."""
        return render_template(
            "page.html.j2", {"page": self, "legend": GALLERY_LEGEND}, {"inline": _inline_svg}
        )

    def to_markdown(self, folder: Path) -> str:
        """Writes the report as Markdown for a code forge; `folder` is where it will lie.

        Figures are linked in `figures/` of that folder, mask pictures wherever they are.
        """
        pieces = [f"# {self.title}", *(f"**{line}**" for line in self.answer), self.summary]
        pieces += _format_section(self.first)
        pieces += [format_notes(self.notes)] if self.notes else []
        pieces += [
            "## Verdicts",
            "\n".join(f"- **{s.word}** {s.claim} ({s.numbers})." for s in self.sentences)
            or "There is nothing to compare.",
        ]
        if self.caveats:
            pieces += ["## Caveats", "\n".join(f"- {line}" for line in self.caveats)]
        for section in self.sections:
            pieces += _format_section(section)
        if self.gallery:
            pieces += [
                "## Mask gallery",
                self.gallery.title,
                _format_gallery(self.gallery, folder),
            ]
            pieces += [GALLERY_LEGEND]
        pieces += ["## Experimental protocol", *self.methods]
        pieces += ["## Study", f"```yaml\n{self.text.rstrip()}\n```"]
        return "\n\n".join(pieces) + "\n"


def build_gallery(plan: StudyPlan, folder: Path) -> Gallery | None:
    """Lays out the mask pictures that the plan lists and that are there; None without any.

    `folder` is the report's: pictures are looked for in it first.
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
    """Lists what levels mean, as Markdown."""
    return "\n".join(f"- `{level}`: {note}" for level, note in notes.items())


def _inline_svg(picture: Picture) -> Markup:
    """Returns the figure to stand in an HTML page: no XML head, and identifiers of its own.

    Those begin with the picture's name, so that two figures of a page do not share any.
    """
    svg = picture.svg[picture.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{picture.name}-', svg)
    svg = re.sub(r'href="#', f'href="#{picture.name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{picture.name}-", svg)
    label = escape(picture.title)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _find_picture(folder: Path, path: Path) -> Path | None:
    """Looks for a picture beside the report first, so that a moved report finds its own."""
    return next((place for place in (folder / path, path) if place.is_file()), None)


def _format_section(section: Section) -> list[str]:
    pieces = [f"## {section.title}"] if section.has_content else []
    if picture := section.picture:
        pieces += [f"![{picture.title}](figures/{picture.name}.png)", picture.caption]
    if (table := section.table) and table.rows:
        pieces += [table.to_markdown(brief=True), table.caption]
        if not table.has_only_brief_columns:
            folded = f"<details><summary>{table.title}: all columns</summary>"
            pieces += [folded, table.to_markdown(), "</details>"]
    return pieces


def _format_gallery(shown: Gallery, folder: Path) -> str:
    lines = [["", *map(escape_cell, shown.patchifiers)], [":---"] * (1 + len(shown.patchifiers))]
    for masker, tiles in shown.rows:
        links = [
            quote(Path(os.path.relpath(tile.path, folder)).as_posix()) if tile else ""
            for tile in tiles
        ]
        cells = [
            f"![{tile.caption}]({link})" if tile else ""
            for tile, link in zip(tiles, links, strict=True)
        ]
        lines.append([escape_cell(masker), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
