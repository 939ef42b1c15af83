"""Writes the page that lists all reports of a folder: `reports/index.html`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.core.records.findings import FINDINGS_FILE, Findings
from ablate.report.pages.html import render_template

PAGE = "index.html"


@dataclass(frozen=True)
class ListedReport:
    """A report in the list: its folder, and its findings if this version can read them."""

    folder: str
    findings: Findings | None

    @property
    def words(self) -> dict[str, int]:
        """How often each word occurs among the verdicts on factors."""
        verdicts = [] if self.findings is None else self.findings.verdicts
        words = [v.verdict.split()[0].rstrip(":,") for v in verdicts if v.family == "pooled"]
        return {word: words.count(word) for word in sorted(set(words))}


def write_report_list(reports: Path) -> Path:
    """Writes the list of all reports in a folder, by name; returns the path of the page."""
    page = reports / PAGE
    write_atomically(page, render_template("report_list.html.j2", {"reports": [*_list(reports)]}))
    return page


def _list(reports: Path) -> Iterator[ListedReport]:
    for file in sorted(reports.glob(f"*/{PAGE}")):
        try:
            findings = Findings.find(file.parent / FINDINGS_FILE)
        except ValueError:  # another version, or damaged; its page can still be opened
            findings = None
        yield ListedReport(file.parent.name, findings)
