"""The README's section on kept reports: a question, its answer, and one small table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablate.report.pages.findings import Findings
from ablate.report.pages.index import FIGURE
from ablate.report.pages.published import Kept, differs, explained, questions
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

BY = "over_mel_statistics_by"  # older findings have none
CLEAR = ("better", "worse")


def brief(folders: Sequence[Path], root: Path, *, page: str) -> str:
    """Writes the section for a README in the folder `root`; `page` lists all there is to tell.

    The study with most trials has its picture here. Raises as `questions`.
    """
    asked = questions(folders, root)
    kept = [of for group in asked for of in group]
    if not kept:
        return ""
    pieces = [_head([of.found for of in kept], page)]
    for number_of, group in enumerate(asked):
        pieces += _part(group, pictured=number_of == 0)
    return "\n\n".join(pieces)


def _head(found: Sequence[Findings], page: str) -> str:
    covered = format_coverage(*(of["alpha"] for of in found))
    return (
        "Differences in points, paired by seed, with uncorrected "
        f"{covered} intervals; bold: better or worse after Holm's correction. *Gain*: of what "
        f"training adds to the own random init.{_over_mel(found)} "
        f"[All tables, p-values and pictures]({page})."
    )


def _over_mel(found: Sequence[Findings]) -> str:
    """Says how many variants score more than log-mel statistics, by their study and by others."""
    known = [
        variant
        for one in found
        for variant in one["variants"]
        if variant["over_mel_statistics"] is not None
    ]
    if not known:
        return ""
    own = sum(variant["over_mel_statistics"] > 0 for variant in known)
    by = [Counter(v for v, over in of.get(BY, {}).items() if over > 0) for of in known]
    most = max(sum(by, Counter()).values(), default=0)
    others = f", up to {most} by another probe or pooling" * (most > own)
    return (
        f" Of {len(known)} variants held against plain log-mel statistics, which need no encoder, "
        f"{own or 'none'} score{'s' * (own < 2)} more by the study's own probe{others}."
    )


def _part(kept: Sequence[Kept], *, pictured: bool) -> list[str]:
    """Writes the answer of the largest study on a question, and what all of them found."""
    first = kept[0]
    picture = f"![Contrasts of {first.found['study']}]({first.place}/{FIGURE})"
    return [
        f"### {first.found['title']}",
        "\n".join(f"- {line}" for line in first.found["answer"]),
        _table(kept).to_markdown(),
        *(["\n".join(warned)] if (warned := [*_warned(kept)]) else []),
        *([picture] if pictured else []),
    ]


def _warned(kept: Sequence[Kept]) -> Iterator[str]:
    """Says of which corpus the masks are not what their maskers were to draw."""
    for of in kept:
        for line in of.found.get("giveaways", ()):  # older ones do not say
            yield f"- On {_corpus(of.found)}: {line}"


def _table(kept: Sequence[Kept]) -> Table:
    """Returns a row for what is compared and a column for each report, which its head links to."""
    cells: dict[tuple[str, str], dict[int, Row]] = {
        _key(row): {} for of in kept for row in of.told() if not differs(row)
    }  # by level, and what is compared where; what differs is told where it holds
    for place, of in enumerate(kept):
        for row in of.found["verdicts"]:
            if not differs(row) and _key(row) in cells:
                cells[_key(row)].setdefault(place, row)
    told = (row["level"] for of in kept for row in of.told() if row["family"] != "learning")
    levels = [*dict.fromkeys(told), ""]  # learning comes last
    ordered = sorted(cells.items(), key=lambda cell: levels.index(cell[0][0]))
    notes = explained(kept)
    rows = [
        {"contrast": label + (f": {note}" if (note := notes.pop(level, "")) else ""), "cells": of}
        for (level, label), of in ordered
    ]
    heads = [f"[{_corpus(of.found)}]({of.place}/report.md), {_seeds(of.found)}" for of in kept]
    return Table(
        name="brief",
        title="Verdicts",
        caption="",
        columns=(
            Column(head="", format=text_cell("contrast"), text=True),
            *(Column(head=head, format=_cell(place)) for place, head in enumerate(heads)),
        ),
        rows=tuple(rows),
    )


def _key(row: Row) -> tuple[str, str]:
    return "" if row["family"] == "learning" else row["level"], _compared(row)


def _compared(row: Row) -> str:
    pooled = row["where"] == "all" or row["where"].startswith("pooled over ")
    where = "" if pooled else f" with {row['where']}"
    gain = ", *gain*" * (row["measure"] == "gain")
    if row["family"] == "learning":
        return f"*{row['level']} {MINUS} {row['against']}*{where}"
    return f"`{row['level']}` {MINUS} `{row['against']}`{where}{gain}"


def _cell(place: int) -> CellFormatter:
    """Shows a verdict of one report: its difference, its interval, and a word where it is open."""

    def show(row: Row) -> str:
        of = row["cells"].get(place)
        if of is None:
            return ""
        said = format_number(of["difference"], signed=True)
        word = str(of["verdict"]).partition(":")[0]
        told = f"**{said}**" if word in CLEAR else said
        low, high = of["difference_low"], of["difference_high"]
        known = f"{told} {format_interval(low, high)}"
        if word in CLEAR:
            return known
        against = low is not None and not low <= 0 <= high
        if word == "undecided" and against:  # the interval does not say why
            word = f"undecided, p {format_p(of['p_holm'])}"
        return f"{known} {word}"

    return show


def _corpus(found: Findings) -> str:
    """Names the sound of a study: `synthetic sound`, or its tasks."""
    data = found.get("data") or []
    if data and all(of.get("synthetic") for of in data):
        return "synthetic sound"
    return ", ".join(dict.fromkeys(task for of in data for task in of["tasks"])) or found["study"]


def _seeds(found: Findings) -> str:
    count = len(found["seeds"])
    return f"{count} seed{'s' * (count != 1)}"
