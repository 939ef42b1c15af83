"""Reports that are kept with the code: what is copied of them, and the pages that list them."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.report.pages.findings import FILE, findings_of
from ablate.report.pages.index import listing
from ablate.report.pages.methods import FILES_PREFIX
from ablate.report.pages.published import linked
from ablate.report.pages.readme_section import brief

BEGIN, END = "<!-- results: written by `ablate publish` -->", "<!-- end of results -->"
PAGE = "README.md"  # beside the kept reports: all that there is to tell of them
GALLERY = "## Mask gallery"
ABSOLUTE = re.compile(r"^(# override: [^=\n]+=)/\S*/", re.MULTILINE)


def keep(report: Path, into: Path, *, pictures_of_sound: bool = True) -> None:
    """Copies a report into a folder of the repository: Markdown, PNG, CSV and JSON.

    What lay in that folder is deleted. Without `pictures_of_sound` the mask gallery is left out,
    for clips that may not be shown. Raises `ValueError` where the report lacks its findings, its
    scores or a picture that it links to, or where none of its trials has a score.
    """
    if not findings_of(report)["scored"]:
        raise ValueError(
            f"{report} is of a study none of whose trials has a score; is ABLATE_RUNS the folder "
            "of its runs? Write it again: ablate report STUDY"
        )
    text = (report / "report.md").read_text(encoding="utf-8")
    if not pictures_of_sound:
        pieces = text.split("\n\n## ")
        text = "\n\n## ".join(of for of in pieces if not f"## {of}".startswith(GALLERY))
    # of the files beside the report, a few are kept
    text = "\n\n".join(of for of in text.split("\n\n") if not of.startswith(FILES_PREFIX))
    text = ABSOLUTE.sub(r"\1", text)  # where sound lay on one machine tells nobody else anything
    linked = re.findall(r"\]\(((?:figures|gallery)/[^)]+\.png)\)", text)
    names = (FILE, "scores.csv", *linked)
    lacking = [name for name in names if not (report / name).is_file()]
    if lacking:
        raise ValueError(f"{report} lacks {lacking[0]}; write it again: ablate report STUDY")
    kept = {name: (report / name).read_bytes() for name in names}
    if into.exists():  # what an earlier report showed may be gone from this one
        shutil.rmtree(into)
    write_atomically(into / "report.md", text)
    for name, content in kept.items():
        write_atomically(into / name, content)


def rewrite(readme: Path, results: Path, folders: Sequence[Path]) -> None:
    """Lists kept reports on a page in the folder `results`, and briefly in the README.

    There, between its two markers. Raises as `around`, and `ValueError` where the findings of a
    report are missing.
    """
    before, after = around(readme)
    write_atomically(results / PAGE, listing(folders, results))
    write_atomically(readme, f"{before}{section(readme, results, folders)}{after}")


def around(readme: Path) -> tuple[str, str]:
    """Returns what stands before and after the section. Raises `ValueError` without its markers."""
    wanted = f"{readme} must have one line `{BEGIN}` and, after it, one `{END}`"
    if not readme.is_file():
        raise ValueError(f"{wanted}; there is no such file")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(wanted)
    before, _, rest = text.partition(BEGIN)
    return before, rest.partition(END)[2]


def section(readme: Path, results: Path, folders: Sequence[Path]) -> str:
    """Writes the README's section with its markers. Raises as `rewrite`."""
    page = linked(results / PAGE, readme.resolve().parent)
    return f"{BEGIN}\n\n{brief(folders, readme.parent, page=page)}\n\n{END}"
