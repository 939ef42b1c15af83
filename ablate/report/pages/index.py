"""Writes every contrast of published reports: by question, with a table and one figure each."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ablate.core.records.findings import Findings, VerdictFinding
from ablate.report.pages.escaping import escape_markdown
from ablate.report.pages.findings import read_findings
from ablate.report.pages.page import format_notes
from ablate.report.pages.sentences import CONTRAST_COLUMNS
from ablate.report.pages.table import (
    MINUS,
    Column,
    Row,
    Table,
    format_number,
    interval_cell,
    number_cell,
    p_cell,
    text_cell,
)
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.notes import BELOW_MARGIN

DECIDED_WORDS = ("better", "worse")
FIGURE = "figures/contrasts.png"
INTRODUCTION = (
    "## Every contrast\n\nDifferences are in points, paired by seed: of the score or, if a table "
    "says so, of the gain of each arm over "
    "its own random init. P-values are Holm-corrected, intervals are not; within a combination, a "
    "p-value is at least as large as the pooled contrast and its interaction allow. *Detectable* "
    "is the smallest difference that this number of seeds detects with 80 % power, at the observed "
    "spread and at the strictest level of the correction."
)


@dataclass(frozen=True)
class PublishedReport:
    """A published report: its findings, and its folder as a link on the page."""

    findings: Findings
    link: str

    @property
    def study(self) -> str:
        """The name of the study in Markdown."""
        return f"`{self.findings.study}`"

    def list_verdicts(self) -> list[VerdictFinding]:
        """Lists the verdicts to show.

        Verdicts within a combination are shown only if the pooled contrast has an interaction.
        """
        verdicts = self.findings.verdicts
        differing = {(v.factor, v.level) for v in verdicts if is_interaction(v)}
        return [v for v in verdicts if v.family != "within" or (v.factor, v.level) in differing]


def write_contrasts(groups: Sequence[Sequence[PublishedReport]]) -> str:
    """Writes every contrast of published reports, grouped by question, as Markdown."""
    return "\n\n".join([INTRODUCTION, *map(_write_question, groups)])


def group_by_question(folders: Sequence[Path], root: Path) -> list[list[PublishedReport]]:
    """Groups reports by their question; groups and reports with most trials come first.

    Links are relative to `root`.

    Raises:
        ValueError: If a report has no findings, or is outside `root`.
    """
    reports = [
        PublishedReport(read_findings(folder), format_link(folder, root)) for folder in folders
    ]
    reports.sort(key=lambda report: (-report.findings.num_trials, report.link))
    titles = dict.fromkeys(report.findings.title for report in reports)
    groups = [[report for report in reports if report.findings.title == title] for title in titles]
    return sorted(groups, key=lambda group: -sum(report.findings.num_trials for report in group))


def is_interaction(verdict: VerdictFinding) -> bool:
    """Checks whether a verdict is that a pooled contrast depends on the combination."""
    return verdict.family == "pooled" and verdict.verdict.startswith("differs")


def collect_notes(reports: Sequence[PublishedReport]) -> dict[str, str]:
    """Collects the notes on levels; the largest study with a note on a level has precedence."""
    notes: dict[str, str] = {}
    for report in reversed(reports):
        notes |= report.findings.notes
    return notes


def format_link(path: Path, root: Path) -> str:
    """Formats a path as a link from a page in `root`. Raises `ValueError` if it is outside."""
    return path.resolve().relative_to(root.resolve()).as_posix()


def _write_question(reports: Sequence[PublishedReport]) -> str:
    """Writes the section of one question; studies are named if there are several."""
    answers = [
        f"- {f'{report.study}: ' if len(reports) > 1 else ''}{escape_markdown(line)}"
        for report in reports
        for line in report.findings.answer
    ]
    notes = collect_notes(reports)
    first = reports[0]
    pieces = [
        f"### {escape_markdown(first.findings.title)}",
        "\n".join(answers),
        _build_verdict_table(reports).to_markdown(),
        *([format_notes(notes)] if notes else []),
        f"![Contrasts of {first.findings.study} with their intervals]({first.link}/{FIGURE})",
        "\n".join(f"- {_write_facts(report)}" for report in reports),
    ]
    return "\n\n".join(pieces)


def _write_facts(report: PublishedReport) -> str:
    """Writes the size of a study, its reference scores, and links to its report."""
    findings = report.findings
    facts = (
        f"{report.study}: {len(findings.variants)} variants, {len(findings.seeds)} seeds, "
        f"{findings.num_scored} of {findings.num_trials} trials scored by {findings.score} on "
        f"{findings.data_summary}"
    )
    facts = "; ".join([facts, *_write_references(findings)])
    reversed_signs = [
        f"{row.level} {MINUS} {row.against} is {row.other_sign}"
        for row in findings.robustness
        if row.other_sign
    ]
    if reversed_signs:
        facts += (
            f". The sign is reversed with another probe or pooling: {'; '.join(reversed_signs)}"
        )
    facts += f". [Full report]({report.link}/report.md)"
    if findings.caveats:
        count = len(findings.caveats)
        caveats = f"{count} caveat{'s' * (count > 1)}"
        facts += f", with [{caveats}]({report.link}/report.md#caveats)"
    return f"{facts}."


def _build_verdict_table(reports: Sequence[PublishedReport]) -> Table:
    """Builds the table of verdicts, with the names of the studies if there are several."""
    study = Column(head="study", format=text_cell("study"), text=True)
    rows = [
        {**asdict(verdict), "study": report.study}
        for report in reports
        for verdict in report.list_verdicts()
    ]
    coverage = format_coverage(*(row["interval_alpha"] for row in rows))
    has_gains = any(row["measure"] == "gain" for row in rows)
    measure = Column(head="measure", format=text_cell("measure"), text=True)
    return Table(
        name="verdicts",
        title="Verdicts",
        caption="",
        columns=(
            *([study] if len(reports) > 1 else []),
            *CONTRAST_COLUMNS,
            Column(head="verdict", format=_format_verdict, text=True),
            *([measure] if has_gains else []),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head=f"{coverage} interval", format=interval_cell("difference")),
            Column(head="p", format=p_cell("p_holm")),
            Column(head="seeds", format=text_cell("n")),
            Column(head="detectable", format=number_cell("detectable")),
        ),
        rows=tuple(rows),
    )


def _format_verdict(row: Row) -> str:
    """Formats a verdict; bold if there is a difference that is no smaller than the margin."""
    is_decided = row["verdict"].startswith((*DECIDED_WORDS, "differs"))
    is_clear = is_decided and BELOW_MARGIN not in row["notes"]
    return f"**{row['verdict']}**" if is_clear else str(row["verdict"])


def _write_references(findings: Findings) -> Iterator[str]:
    """Yields the range of differences to the random init and to log-mel statistics."""
    variants = findings.variants
    baseline = next((v for v in variants if v.variant == findings.baseline), variants[0])
    for reference, name in (
        ("their own random init", "gain"),
        ("log-mel statistics", "over_mel_statistics"),
    ):
        differences = [getattr(v, name) for v in variants if getattr(v, name) is not None]
        if differences:
            by_task = (
                f"{task} {format_number(getattr(result, name), signed=True)}"
                for task, result in baseline.tasks.items()
            )
            yield (
                f"{_format_range(differences)} {reference} ({baseline.variant}: "
                f"{', '.join(by_task)})"
            )


def _format_range(values: Sequence[float]) -> str:
    """Formats a range of differences to a reference: `1.0 to 8.7 points above`."""
    if max(values) <= 0 or min(values) >= 0:
        ends = sorted({format_number(abs(end)) for end in (min(values), max(values))}, key=float)
        return f"{' to '.join(ends)} points {'below' if max(values) <= 0 else 'above'}"
    low, high = (format_number(end, signed=True) for end in (min(values), max(values)))
    return f"{low} to {high} points from"
