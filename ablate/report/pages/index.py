"""All kept reports on one page, question by question: answers, tables, pictures, what is behind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ablate.report.pages.findings import ABOVE, Findings
from ablate.report.pages.page import format_notes
from ablate.report.pages.published import Kept, explained, questions
from ablate.report.pages.sentences import CONTRAST_COLUMNS, format_contrast
from ablate.report.pages.table import (
    Column,
    Table,
    format_number,
    interval_cell,
    number_cell,
    p_cell,
    text_cell,
)
from ablate.report.stats.decision_rules import format_coverage

FIGURE = "figures/contrasts.png"
HEAD = (
    "# Results\n\nWritten by `ablate publish` from the reports in this folder. Differences are in "
    "points, paired by seed: of the score or, where a table says so, of the gain of each arm over "
    "its own random init. P-values are Holm-corrected, intervals are not; within a combination, a "
    "p-value is no smaller than the pooled contrast and its interaction allow. *Detectable* is the "
    "smallest difference that this many seeds detect with 80 % power, at the observed spread and "
    "at the strictest level of the correction."
)


def listing(folders: Sequence[Path], root: Path) -> str:
    """Writes the page, which lies in the folder `root`. Raises as `questions`."""
    return "\n\n".join([HEAD, *map(_part, questions(folders, root))]) + "\n"


def _part(kept: Sequence[Kept]) -> str:
    """Writes what the reports on one question found; each is named where there are several."""
    named = len(kept) > 1
    answers = [
        f"- {f'{of.study}: ' if named else ''}**{line}**"
        for of in kept
        for line in of.found["answer"]
    ]
    notes = explained(kept)
    first = kept[0]
    study = first.found["study"]
    pieces = [
        f"## {first.found['title']}",
        "\n".join(answers),
        _table(kept).to_markdown(),
        *([format_notes(notes)] if notes else []),
        f"![Contrasts of {study} with their intervals]({first.place}/{FIGURE})",
        "\n".join(f"- {_facts(of)}" for of in kept),
    ]
    return "\n\n".join(pieces)


def _facts(kept: Kept) -> str:
    """Says how much stands behind a report's words, and where the rest of it is."""
    found = kept.found
    sound = f" on {found['sound']}" if "sound" in found else ""  # older ones do not say
    facts = (
        f"{kept.study}: {len(found['variants'])} variants, {len(found['seeds'])} seeds, "
        f"{found['scored']} of {found['trials']} trials scored by {found['score']}{sound}"
    )
    facts = "; ".join([facts, *_references(found)])
    turned = [
        f"{format_contrast(row)} is {row['other_sign']}"
        for row in found.get("robustness", ())  # older ones have none
        if row["other_sign"]
    ]
    if turned:
        facts += f". With another probe or pooling the sign is reversed: {'; '.join(turned)}"
    facts += f". [The whole report]({kept.place}/report.md)"
    if found["cautions"]:
        count = len(found["cautions"])
        noun = "thing" if count == 1 else "things"
        facts += f", with [{count} {noun} to read with care]({kept.place}/report.md#read-with-care)"
    return f"{facts}."


def _table(kept: Sequence[Kept]) -> Table:
    """Returns a row a verdict, with its study where there are several."""
    study = Column(head="study", format=text_cell("study"), text=True)
    rows = [
        {"interval_alpha": of.found["alpha"], **row, "study": of.study}
        for of in kept
        for row in of.told()
    ]
    covered = format_coverage(*(row["interval_alpha"] for row in rows))
    gains = any(row["measure"] == "gain" for row in rows)
    return Table(
        name="verdicts",
        title="Verdicts",
        caption="",
        columns=(
            *([study] if len(kept) > 1 else []),
            *CONTRAST_COLUMNS,
            Column(head="verdict", format=lambda row: f"**{row['verdict']}**", text=True),
            *([Column(head="measure", format=text_cell("measure"), text=True)] if gains else []),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head=f"{covered} interval", format=interval_cell("difference")),
            Column(head="p", format=p_cell("p_holm")),
            Column(head="seeds", format=text_cell("n")),
            Column(head="detectable", format=number_cell("detectable")),
        ),
        rows=tuple(rows),
    )


def _references(found: Findings) -> Iterator[str]:
    """Says what was gained over random init, and what plain log-mel statistics would have given."""
    variants = found["variants"]
    baseline = next((of for of in variants if of["variant"] == found["baseline"]), variants[0])
    for word, name in zip(("their own random init", "log-mel statistics"), ABOVE, strict=True):
        known = [variant[name] for variant in variants if variant[name] is not None]
        if known:
            each = (
                f"{task} {format_number(of[name], signed=True)}"
                for task, of in baseline["tasks"].items()
            )
            yield f"{_range(known)} {word} ({baseline['variant']}: {', '.join(each)})"


def _range(values: Sequence[float]) -> str:
    """Writes differences to a reference, `1.0 to 8.7 points above`."""
    if max(values) <= 0 or min(values) >= 0:
        ends = sorted(
            {format_number(abs(value)) for value in (min(values), max(values))}, key=float
        )
        return f"{' to '.join(ends)} points {'below' if max(values) <= 0 else 'above'}"
    low, high = (format_number(of(values), signed=True) for of in (min, max))
    return f"{low} to {high} points from"
