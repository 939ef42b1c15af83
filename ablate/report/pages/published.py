"""Reports that are kept with the code, by the question that they answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.report.pages.findings import Findings, findings_of
from ablate.report.pages.table import Row


@dataclass(frozen=True)
class Kept:
    """What one report found, and where it lies, as links on a page say it."""

    found: Findings
    place: str

    @property
    def study(self) -> str:
        """Returns the study's name as code."""
        return f"`{self.found['study']}`"

    def told(self) -> Iterator[Row]:
        """Yields the verdicts to tell; those within a combination where the pooled one differs."""
        rows = self.found["verdicts"]
        apart = {(row["factor"], row["level"]) for row in rows if differs(row)}
        for row in rows:
            if row["family"] != "within" or (row["factor"], row["level"]) in apart:
                yield row


def differs(row: Row) -> bool:
    """Tells whether a pooled verdict says that it depends on the combination."""
    return row["family"] == "pooled" and str(row["verdict"]).startswith("differs")


def explained(kept: Sequence[Kept]) -> dict[str, str]:
    """Returns what levels mean, as the largest study on a question that has them says it."""
    notes: dict[str, str] = {}
    for of in reversed(kept):
        notes |= of.found.get("notes", {})
    return notes


def questions(folders: Sequence[Path], root: Path) -> list[list[Kept]]:
    """Groups reports by their question; what has most trials comes first, in and among groups.

    Links are relative to `root`. Raises `ValueError` where a report has no findings or does not
    lie below `root`.
    """
    kept = [Kept(findings_of(folder), linked(folder, root)) for folder in folders]
    kept.sort(key=lambda of: (-of.found["trials"], of.place))
    titles = dict.fromkeys(of.found["title"] for of in kept)
    groups = [[of for of in kept if of.found["title"] == title] for title in titles]
    return sorted(groups, key=lambda group: -sum(of.found["trials"] for of in group))


def linked(path: Path, root: Path) -> str:
    """Returns a path as a page in the folder `root` links to it. Raises `ValueError` outside."""
    return path.resolve().relative_to(root.resolve()).as_posix()
