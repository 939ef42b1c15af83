"""Publishes reports in the repository: copies them, and writes the page that lists them."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.core.records.findings import FINDINGS_FILE
from ablate.report.pages.findings import read_findings
from ablate.report.pages.index import group_by_question, write_contrasts
from ablate.report.pages.methods import FILES_PREFIX
from ablate.report.pages.overview import write_overview

RESULTS_PAGE = "README.md"  # in the folder of the published reports
FOREWORD = "foreword.md"  # written by hand, in the same folder
HEADING = "# Results\n\nWritten by `ablate publish` from the reports in this folder."
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


def write_results_page(folders: Sequence[Path], root: Path) -> str:
    """Writes the page that lists the reports in `folders`, as Markdown for the folder `root`.

    The text of `foreword.md` in `root`, if there is one, stands before the first question.

    Raises:
        ValueError: If a report lacks its findings, or is outside `root`.
    """
    groups = group_by_question(folders, root)
    file = root / FOREWORD
    foreword = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    pieces = [HEADING, foreword, write_overview(groups), write_contrasts(groups) if groups else ""]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"
