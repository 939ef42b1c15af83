"""Reports that are kept with the code: what is copied of them, and the README's section on them."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.files import read_json, write_atomically
from ablate.reporting.findings import ABOVE, FILE
from ablate.reporting.rendering import MINUS, Column, Table, chance_of, interval_of, number, plain

BEGIN, END = "<!-- results: written by `ablate publish` -->", "<!-- end of results -->"
FIGURE = "figures/contrasts.png"
GALLERY = "## Mask gallery"
ABSOLUTE = re.compile(r"^(# override: [^=\n]+=)/\S*/", re.MULTILINE)
HEAD = (
    "Differences are in points of the score, paired by seed; p is corrected by Holm, intervals are "
    "not. *Detectable* is the difference that so many seeds see in four studies of five, at the "
    "spread observed."
)
Findings = Mapping[str, Any]


def keep(report: Path, into: Path, *, pictures_of_sound: bool = True) -> None:
    """Copies a report into a folder of the repository: Markdown, PNG, CSV and JSON.

    Without `pictures_of_sound` the mask gallery stays out, for clips that may not be shown.
    Raises `ValueError` where the report is not whole.
    """
    findings_of(report)
    text = (report / "report.md").read_text(encoding="utf-8")
    if not pictures_of_sound:
        pieces = text.split("\n\n## ")
        text = "\n\n## ".join(of for of in pieces if not f"## {of}".startswith(GALLERY))
    text = ABSOLUTE.sub(r"\1", text)  # where sound lay on one machine tells nobody else anything
    linked = re.findall(r"\]\(((?:figures|gallery)/[^)]+\.png)\)", text)
    lacking = [name for name in linked if not (report / name).is_file()]
    if lacking:
        raise ValueError(f"{report} lacks {lacking[0]}; write it again: ablate report STUDY")
    if into.exists():  # what an earlier report showed may be gone from this one
        shutil.rmtree(into)
    write_atomically(into / "report.md", text)
    for name in (FILE, "scores.csv", *linked):
        write_atomically(into / name, (report / name).read_bytes())


def findings_of(folder: Path) -> Findings:
    """Reads what a report found. Raises `ValueError` where that is not there, with the way out."""
    try:
        return read_json(folder / FILE)
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds no {FILE}: its report was written before there was one, or is none; "
            "write it again from its runs, `ablate report STUDY`, and `ablate publish STUDY`"
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
    """Writes the section, with its markers: a part a report, linked relative to `root`."""
    found = [findings_of(folder) for folder in folders]
    titles = Counter(one["title"] for one in found)
    parts = [
        _part(one, _relative(folder, root), several=titles[one["title"]] > 1)
        for one, folder in zip(found, folders, strict=True)
    ]
    return "\n\n".join([BEGIN, HEAD, *parts, END])


def _relative(folder: Path, root: Path) -> str:
    return folder.resolve().relative_to(root.resolve()).as_posix()


def _part(found: Findings, place: str, *, several: bool) -> str:
    """Writes what one report found; its study is named where `several` ask the same question."""
    seeds, tasks = len(found["seeds"]), list(found["variants"][0]["tasks"])
    facts = (
        f"`{found['study']}`: {len(found['variants'])} variants, "
        f"{seeds} seeds, {found['scored']} of {found['trials']} trials scored by {found['score']} "
        f"over {', '.join(tasks)}. [The whole report]({place}/report.md)"
    )
    if found["cautions"]:
        count = len(found["cautions"])
        noun = "thing" if count == 1 else "things"
        facts += f", with [{count} {noun} to read with care]({place}/report.md#read-with-care)"
    named = f" `{found['study']}`" if several else ""
    return "\n\n".join(
        [
            f"### {found['title']}{named}",
            "\n".join(f"- **{line}**" for line in found["answer"]),
            _table(found).markdown(),
            "\n".join(f"- {line}" for line in _references(found)),
            f"{facts}.",
            f"![Contrasts with their intervals]({place}/{FIGURE})",
        ]
    )


def _table(found: Findings) -> Table:
    """Returns a row a verdict; of those within a combination, where the pooled one differs."""
    rows = found["verdicts"]
    apart = {
        (row["factor"], row["level"])
        for row in rows
        if row["family"] == "pooled" and row["verdict"].startswith("differs")
    }
    return Table(
        name="verdicts",
        title="Verdicts",
        caption="",
        columns=(
            Column(
                head="contrast",
                show=lambda row: f"{row['level']} {MINUS} {row['against']}",
                text=True,
            ),
            Column(head="where", show=plain("where"), text=True),
            Column(head="verdict", show=lambda row: f"**{row['verdict']}**", text=True),
            Column(head="difference", show=lambda row: _signed(row["difference"])),
            Column(
                head=f"{100 * (1 - found['alpha']):.4g} % interval", show=interval_of("difference")
            ),
            Column(head="p", show=chance_of("p_holm")),
            Column(head="seeds", show=plain("n")),
            Column(head="detectable", show=lambda row: number(row["detectable"])),
        ),
        rows=tuple(
            row
            for row in rows
            if row["family"] != "within" or (row["factor"], row["level"]) in apart
        ),
    )


def _references(found: Findings) -> Iterator[str]:
    """Says what was gained over random init, and what plain log-mel statistics would have given."""
    variants = found["variants"]
    baseline = next((of for of in variants if of["variant"] == found["baseline"]), variants[0])
    for word, name in zip(("its own random init", "log-mel statistics"), ABOVE, strict=True):
        known = [variant[name] for variant in variants if variant[name] is not None]
        if known:
            ends = dict.fromkeys(_signed(end) for end in (min(known), max(known)))
            each = (f"{task} {_signed(of[name])}" for task, of in baseline["tasks"].items())
            yield (
                f"Over {word}: {' to '.join(ends)} points in all variants; in "
                f"{baseline['variant']} {_signed(baseline[name])} ({', '.join(each)})."
            )


def _signed(value: float | None) -> str:
    return number(value, signed=True)
