"""Writes the overview of published reports: question, answer and a small table each."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ablate.core.records.findings import Findings, VerdictFinding
from ablate.report.pages.escaping import escape_markdown
from ablate.report.pages.index import DECIDED_WORDS, PublishedReport, collect_notes, is_interaction
from ablate.report.pages.sentences import ABSOLUTE
from ablate.report.pages.table import (
    MINUS,
    CellFormatter,
    Column,
    Row,
    Table,
    format_interval,
    format_number,
    format_p,
    text_cell,
)
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.notes import BELOW_MARGIN

ContrastKey = tuple[str, str]  # level (empty for learning contrasts), contrast as text


def write_overview(groups: Sequence[Sequence[PublishedReport]]) -> str:
    """Writes the answers of published reports, grouped by question, as Markdown."""
    reports = [report for group in groups for report in group]
    if not reports:
        return ""
    introduction = _write_introduction([report.findings for report in reports])
    return "\n\n".join([introduction, *map(_write_question, groups)])


def _write_introduction(findings: Sequence[Findings]) -> str:
    coverage = format_coverage(*(each.alpha for each in findings))
    return (
        f"Differences in points, paired by seed, with uncorrected {coverage} intervals; bold: "
        f"better or worse after Holm's correction.{_write_margins(findings)} *Gain* is the "
        f"improvement over the model's own random initialisation.{_write_mel_comparison(findings)}"
        f"{_write_untrained_comparison(findings)}"
    )


def _write_margins(findings: Sequence[Findings]) -> str:
    """Writes within how many points two levels are called equivalent."""
    margins = sorted({each.margin for each in findings if each.margin})
    if not margins:
        return ""
    points = " or ".join(f"{margin:g}" for margin in margins)
    return (
        f" *Equivalent*: two one-sided tests place the difference within {points} points, the "
        "margin that a study declares."
    )


def _write_mel_comparison(findings: Sequence[Findings]) -> str:
    """Writes how many variants beat log-mel statistics, by the default probe and by others."""
    variants = [
        variant
        for each in findings
        for variant in each.variants
        if variant.over_mel_statistics is not None
    ]
    if not variants:
        return ""
    own = sum((variant.over_mel_statistics or 0.0) > 0 for variant in variants)
    with_p = [variant for variant in variants if variant.over_mel_statistics_p is not None]
    alpha = min(each.alpha for each in findings)
    significant = sum(
        (variant.over_mel_statistics or 0.0) > 0 and (variant.over_mel_statistics_p or 0.0) < alpha
        for variant in with_p
    )
    tested = f" ({significant} significantly)" * (own > 0 and len(with_p) == len(variants))
    by_probe = Counter(
        probe
        for variant in variants
        for probe, difference in variant.over_mel_statistics_by.items()
        if difference > 0
    )
    most = max(by_probe.values(), default=0)
    others = f"; up to {most} do under another probe or pooling" * (most > own)
    return (
        f" {own or 'None'} of the {len(variants)} variants beat{'s' * (own < 2)} plain log-mel "
        f"statistics under the study's default probe{tested}{others}."
    )


def _write_untrained_comparison(findings: Sequence[Findings]) -> str:
    """Writes how many variants are shown to be better than what needs no training."""
    compared = [v for each in findings for v in each.verdicts if v.family == "untrained"]
    if not compared:
        return ""
    better = sum(verdict.verdict.startswith("better") for verdict in compared)
    return (
        f" {better or 'None'} of the {len(compared)} variants of newer reports "
        f"{'are' if better > 1 else 'is'} shown to be better than the strongest baseline without "
        "training."
    )


def _write_question(reports: Sequence[PublishedReport]) -> str:
    """Writes the answer of the largest study on a question, and a table of all of them."""
    findings, warnings = reports[0].findings, [*_list_mask_warnings(reports)]
    pieces = [
        f"## {escape_markdown(findings.title)}",
        "\n".join(f"- {escape_markdown(line)}" for line in findings.answer),
        _build_verdict_table(reports).to_markdown(),
        *(["\n".join(map(escape_markdown, warnings))] if warnings else []),
    ]
    return "\n\n".join(pieces)


def _list_mask_warnings(reports: Sequence[PublishedReport]) -> Iterator[str]:
    """Yields the warnings about masks that differ from what their maskers should draw."""
    for report in reports:
        for line in report.findings.mask_warnings:
            yield f"- On {_format_corpus(report.findings)}: {line}"


def _build_verdict_table(reports: Sequence[PublishedReport]) -> Table:
    """Builds a table with one row per contrast and one column per report.

    A pooled contrast with an interaction is not shown; those within each combination are.
    """
    cells: dict[ContrastKey, dict[int, VerdictFinding]] = {
        _get_key(verdict): {}
        for report in reports
        for verdict in report.list_verdicts()
        if not is_interaction(verdict)
    }
    for number, report in enumerate(reports):
        for verdict in report.findings.verdicts:
            if not is_interaction(verdict) and _get_key(verdict) in cells:
                cells[_get_key(verdict)].setdefault(number, verdict)
    listed = (verdict for report in reports for verdict in report.list_verdicts())
    levels = [*dict.fromkeys(v.level for v in listed if v.family not in ABSOLUTE), ""]
    ordered = sorted(cells.items(), key=lambda cell: levels.index(cell[0][0]))
    notes = collect_notes(reports)
    rows = [
        {
            "contrast": label + (f": {note}" if (note := notes.pop(level, "")) else ""),
            "verdicts": verdicts,
        }
        for (level, label), verdicts in ordered
    ]
    heads = [
        f"[{_format_corpus(report.findings)}]({report.link}/report.md), "
        f"{_format_seeds(report.findings)}"
        for report in reports
    ]
    return Table(
        name="verdicts",
        title="Verdicts",
        caption="",
        columns=(
            Column(head="", format=text_cell("contrast"), text=True),
            *(Column(head=head, format=_verdict_cell(i)) for i, head in enumerate(heads)),
        ),
        rows=tuple(rows),
    )


def _get_key(verdict: VerdictFinding) -> ContrastKey:
    level = "" if verdict.family in ABSOLUTE else verdict.level  # these come last
    return level, _format_contrast(verdict)


def _format_contrast(verdict: VerdictFinding) -> str:
    is_pooled = verdict.where == "all" or verdict.where.startswith("pooled over ")
    where = "" if is_pooled else f" with {verdict.where}"
    gain = ", *gain*" * (verdict.measure == "gain")
    if verdict.family in ABSOLUTE:
        return f"*{verdict.level} {MINUS} {verdict.against}*{where}"
    return f"`{verdict.level}` {MINUS} `{verdict.against}`{where}{gain}"


def _verdict_cell(number: int) -> CellFormatter:
    """Returns a formatter of one report's verdict: difference, interval, and word unless bold."""

    def format_cell(row: Row) -> str:
        verdict: VerdictFinding | None = row["verdicts"].get(number)
        if verdict is None:
            return ""
        difference = format_number(verdict.difference, signed=True)
        low, high = verdict.difference_low, verdict.difference_high
        word = verdict.verdict.partition(":")[0]
        if BELOW_MARGIN in verdict.notes:
            plain = word.partition(",")[0]
            return f"{difference} {format_interval(low, high)} {plain}, but {BELOW_MARGIN}"
        if word in DECIDED_WORDS:
            return f"**{difference}** {format_interval(low, high)}"
        excludes_zero = low is not None and high is not None and not low <= 0 <= high
        if word == "undecided" and excludes_zero:  # the interval does not explain the word
            word = f"undecided, p {format_p(verdict.p_holm)}"
        return f"{difference} {format_interval(low, high)} {word}"

    return format_cell


def _format_corpus(findings: Findings) -> str:
    """Formats the corpus of a study: `synthetic sound`, or its tasks."""
    if findings.data and all(data.synthetic for data in findings.data):
        return "synthetic sound"
    tasks = dict.fromkeys(task for data in findings.data for task in data.tasks)
    return ", ".join(tasks) or findings.study


def _format_seeds(findings: Findings) -> str:
    count = len(findings.seeds)
    return f"{count} seed{'s' * (count != 1)}"
