"""Publishes reports in the repository: copies them, and updates the index and the README."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.report.pages.findings import FINDINGS_FILE, read_findings
from ablate.report.pages.index import format_link, write_index
from ablate.report.pages.methods import FILES_PREFIX
from ablate.report.pages.readme_section import write_readme_section

BEGIN_MARKER = "<!-- results: written by `ablate publish` -->"
END_MARKER = "<!-- end of results -->"
INDEX_FILE = "README.md"  # in the folder of the published reports
GALLERY_HEADING = "## Mask gallery"
ABSOLUTE_OVERRIDE = re.compile(r"^(# override: [^=\n]+=)/\S*/", re.MULTILINE)


def publish_report(report: Path, into: Path, *, include_gallery: bool = True) -> None:
    """Copies a report into a folder of the repository: Markdown, PNG, CSV and JSON.

    Args:
        report: Folder of the report.
        into: Destination; its previous content is deleted.
        include_gallery: Whether to copy the mask gallery, whose pictures show the audio.

    Raises:
        ValueError: If the report lacks its findings, its scores or a picture that it links to, or
            if no trial has a score.
    """
    if not read_findings(report).num_scored:
        raise ValueError(
            f"{report}: no trial of this study has a score; check that ABLATE_RUNS is the folder "
            "of its runs, then write the report again: ablate report STUDY"
        )
    text = (report / "report.md").read_text(encoding="utf-8")
    if not include_gallery:
        sections = text.split("\n\n## ")
        text = "\n\n## ".join(s for s in sections if not f"## {s}".startswith(GALLERY_HEADING))
    # this paragraph lists files that are not published
    text = "\n\n".join(p for p in text.split("\n\n") if not p.startswith(FILES_PREFIX))
    text = ABSOLUTE_OVERRIDE.sub(r"\1", text)  # local paths are private and of no use to others
    pictures = re.findall(r"\]\(((?:figures|gallery)/[^)]+\.png)\)", text)
    names = (FINDINGS_FILE, "scores.csv", *pictures)
    missing = [name for name in names if not (report / name).is_file()]
    if missing:
        raise ValueError(f"{report} lacks {missing[0]}; write it again: ablate report STUDY")
    contents = {name: (report / name).read_bytes() for name in names}
    if into.exists():  # an earlier report may have had other pictures
        shutil.rmtree(into)
    write_atomically(into / "report.md", text)
    for name, content in contents.items():
        write_atomically(into / name, content)


def update_pages(readme: Path, results: Path, folders: Sequence[Path]) -> None:
    """Writes the index of published reports, and the README's section between its markers.

    Args:
        readme: The README.
        results: Folder of the index.
        folders: Folders of the published reports.

    Raises:
        ValueError: If the README lacks the markers, or a report lacks its findings.
    """
    before, after = split_readme(readme)
    write_atomically(results / INDEX_FILE, write_index(folders, results))
    write_atomically(readme, f"{before}{format_section(readme, results, folders)}{after}")


def split_readme(readme: Path) -> tuple[str, str]:
    """Returns the text before and after the section. Raises `ValueError` without its markers."""
    expected = f"{readme} must have one line `{BEGIN_MARKER}` and, after it, one `{END_MARKER}`"
    if not readme.is_file():
        raise ValueError(f"{expected}; there is no such file")
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN_MARKER)
    _, end, after = rest.partition(END_MARKER)
    if not (begin and end) or text.count(BEGIN_MARKER) != 1 or text.count(END_MARKER) != 1:
        raise ValueError(expected)
    return before, after


def format_section(readme: Path, results: Path, folders: Sequence[Path]) -> str:
    """Formats the README's section with its markers. Raises `ValueError` as `update_pages`."""
    index = format_link(results / INDEX_FILE, readme.resolve().parent)
    section = write_readme_section(folders, readme.parent, index=index)
    return f"{BEGIN_MARKER}\n\n{section}\n\n{END_MARKER}"
