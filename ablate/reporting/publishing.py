"""Reports that are kept with the code: what is copied of them, and the README's section on them."""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.files import read_json, write_atomically
from ablate.reporting.findings import ABOVE, FILE
from ablate.reporting.page import noted
from ablate.reporting.rendering import (
    Column,
    Row,
    Table,
    chance_of,
    interval_of,
    number,
    plain,
)
from ablate.reporting.rules import percent
from ablate.reporting.wording import COMPARED, compared

BEGIN, END = "<!-- results: written by `ablate publish` -->", "<!-- end of results -->"
FIGURE = "figures/contrasts.png"
GALLERY = "## Mask gallery"
ABSOLUTE = re.compile(r"^(# override: [^=\n]+=)/\S*/", re.MULTILINE)
HEAD = (
    "Differences are in points, paired by seed: of the score or, where a table says so, of the "
    "gain of each arm over its own random init. P-values are Holm-corrected, intervals are not. "
    "*Detectable* is the smallest difference that this many seeds detect with 80 % power, at the "
    "observed spread."
)
Findings = Mapping[str, Any]


def keep(report: Path, into: Path, *, pictures_of_sound: bool = True) -> None:
    """Copies a report into a folder of the repository: Markdown, PNG, CSV and JSON.

    What lay in that folder is deleted. Without `pictures_of_sound` the mask gallery is left out,
    for clips that may not be shown. Raises `ValueError` where the report lacks its findings, its
    scores or a picture that it links to.
    """
    findings_of(report)
    text = (report / "report.md").read_text(encoding="utf-8")
    if not pictures_of_sound:
        pieces = text.split("\n\n## ")
        text = "\n\n## ".join(of for of in pieces if not f"## {of}".startswith(GALLERY))
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


def findings_of(folder: Path) -> Findings:
    """Reads a report's `findings.json`. Raises `ValueError`, with the way out, if there is none."""
    try:
        return read_json(folder / FILE)
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no {FILE}: it holds no report, or one of an older version; "
            "write it again from its runs, `ablate report STUDY`, then `ablate publish STUDY`"
        ) from None


def rewrite(readme: Path, folders: Sequence[Path]) -> None:
    """Puts the section on some reports between the README's two markers.

    Raises `ValueError` where the markers or the findings of a report are missing.
    """
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{readme} must have one line `{BEGIN}` and, after it, one `{END}`")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(readme, f"{before}{section(folders, readme.parent)}{after}")


def section(folders: Sequence[Path], root: Path) -> str:
    """Writes the section, with its markers: a part a question, the one with most trials first.

    Links are relative to `root`. Raises `ValueError` where a report has no findings or does not
    lie below `root`.
    """
    kept = sorted(
        ((findings_of(folder), _relative(folder, root)) for folder in folders),
        key=lambda of: (-of[0]["trials"], of[1]),
    )
    questions = dict.fromkeys(found["title"] for found, _ in kept)
    parts = [_part([of for of in kept if of[0]["title"] == title]) for title in questions]
    return "\n\n".join([BEGIN, HEAD, *parts, END])


def _relative(folder: Path, root: Path) -> str:
    return folder.resolve().relative_to(root.resolve()).as_posix()


def _part(kept: Sequence[tuple[Findings, str]]) -> str:
    """Writes what the reports on one question found; each is named where there are several."""
    several = len(kept) > 1
    answers = [
        f"- {_code(found) + ': ' if several else ''}**{line}**"
        for found, _ in kept
        for line in found["answer"]
    ]
    notes = {level: note for found, _ in kept for level, note in found.get("notes", {}).items()}
    table = _table([found for found, _ in kept], several=several)
    facts = [f"- {_facts(found, place)}" for found, place in kept]
    (first, place), *_ = kept
    picture = f"![Contrasts of {first['study']} with their intervals]({place}/{FIGURE})"
    title = f"### {first['title']}"
    explained = [noted(notes)] if notes else []
    pieces = [title, "\n".join(answers), table.markdown(), *explained, picture, "\n".join(facts)]
    return "\n\n".join(pieces)


def _facts(found: Findings, place: str) -> str:
    """Says how much stands behind a report's words, and where the rest of it is."""
    sound = f" on {found['sound']}" if "sound" in found else ""  # older ones do not say
    facts = (
        f"{_code(found)}: {len(found['variants'])} variants, {len(found['seeds'])} seeds, "
        f"{found['scored']} of {found['trials']} trials scored by {found['score']}{sound}"
    )
    facts = "; ".join([facts, *_references(found)])
    turned = [
        f"{compared(row)} is {row['other_sign']}"
        for row in found.get("robustness", ())  # older ones have none
        if row["other_sign"]
    ]
    if turned:
        facts += f". With another probe or pooling the sign is reversed: {'; '.join(turned)}"
    facts += f". [The whole report]({place}/report.md)"
    if found["cautions"]:
        count = len(found["cautions"])
        noun = "thing" if count == 1 else "things"
        facts += f", with [{count} {noun} to read with care]({place}/report.md#read-with-care)"
    return f"{facts}."


def _code(found: Findings) -> str:
    return f"`{found['study']}`"


def _table(reports: Sequence[Findings], *, several: bool) -> Table:
    """Returns a row a verdict, with its study where there are several."""
    study = Column(head="study", show=lambda row: f"`{row['study']}`", text=True)
    rows = [
        {"interval_alpha": found["alpha"], **row, "study": found["study"]}
        for found in reports
        for row in _told(found)
    ]
    covered = percent(*(row["interval_alpha"] for row in rows))
    gains = any(row["measure"] == "gain" for row in rows)
    return Table(
        name="verdicts",
        title="Verdicts",
        caption="",
        columns=(
            *([study] if several else []),
            *COMPARED,
            Column(head="verdict", show=lambda row: f"**{row['verdict']}**", text=True),
            *([Column(head="measure", show=plain("measure"), text=True)] if gains else []),
            Column(head="difference", show=lambda row: _signed(row["difference"])),
            Column(head=f"{covered} interval", show=interval_of("difference")),
            Column(head="p", show=chance_of("p_holm")),
            Column(head="seeds", show=plain("n")),
            Column(head="detectable", show=lambda row: number(row["detectable"])),
        ),
        rows=tuple(rows),
    )


def _told(found: Findings) -> Iterator[Row]:
    """Yields a report's verdicts; those within a combination where the pooled one differs."""
    rows = found["verdicts"]
    apart = {
        (row["factor"], row["level"])
        for row in rows
        if row["family"] == "pooled" and row["verdict"].startswith("differs")
    }
    for row in rows:
        if row["family"] != "within" or (row["factor"], row["level"]) in apart:
            yield row


def _references(found: Findings) -> Iterator[str]:
    """Says what was gained over random init, and what plain log-mel statistics would have given."""
    variants = found["variants"]
    baseline = next((of for of in variants if of["variant"] == found["baseline"]), variants[0])
    for word, name in zip(("their own random init", "log-mel statistics"), ABOVE, strict=True):
        known = [variant[name] for variant in variants if variant[name] is not None]
        if known:
            ends = dict.fromkeys(_signed(end) for end in (min(known), max(known)))
            each = (f"{task} {_signed(of[name])}" for task, of in baseline["tasks"].items())
            yield (
                f"{' to '.join(ends)} points over {word} ({baseline['variant']}: {', '.join(each)})"
            )


def _signed(value: float | None) -> str:
    return number(value, signed=True)
