"""The door of this room: a plan and its run folders go in, a folder with the report comes out.

The same runs give the same bytes: nothing here knows what time it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rich.console
import rich.table
import rich.text

from ablate.core.io import write_atomically, write_json
from ablate.design.factors import AND
from ablate.report.figures import charts, contrasts, learning_curves
from ablate.report.figures.metrics import Curve, read_curves
from ablate.report.pages import sentences as page_sentences
from ablate.report.pages import tables
from ablate.report.pages.answer import answer
from ablate.report.pages.caveats import cautions
from ablate.report.pages.data_summary import heard
from ablate.report.pages.findings import FILE, findings
from ablate.report.pages.health import health, masks
from ablate.report.pages.methods import protocol
from ablate.report.pages.page import Page, Section, gallery
from ablate.report.pages.table import Table
from ablate.report.results import Results, read
from ablate.report.stats.ranks import ranking, tasks
from ablate.report.stats.robustness import robustness
from ablate.report.stats.variance import components, shares
from ablate.report.stats.verdicts import Verdict, verdicts
from ablate.report.stats.weighted_totals import totals

COLOURS = {
    "better": "bold blue",
    "worse": "bold red",
    "equivalent": "bold green",
    "undecided": "bold yellow",
    "differs": "bold magenta",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the terminal needs of a report that has been written."""

    page: Path
    num_failed: int
    sentences: tuple[page_sentences.Sentence, ...]
    cautions: tuple[str, ...]
    tables: tuple[Table, ...]

    def render(self, console: rich.console.Console) -> None:
        """Shows the short tables, then the verdicts, then where the page lies."""
        for table in self.tables:
            if table.rows:
                console.print(table.renderable(console.width))
        lines = rich.table.Table.grid(padding=(0, 2))
        lines.add_column(justify="right", no_wrap=True)
        lines.add_column()
        for sentence in self.sentences:
            word = rich.text.Text(sentence.word, style=COLOURS[sentence.word])
            lines.add_row(word, rich.text.Text(str(sentence)))
        for caution in self.cautions:
            lines.add_row(rich.text.Text("note", style="dim"), rich.text.Text(caution, style="dim"))
        console.print(lines)
        console.print(rich.text.Text(f"\n{self.page}"), soft_wrap=True)


def write(plan: Mapping[str, Any], runs: Path, folder: Path) -> Summary:
    """Reads the runs of a planned study and writes its report into `folder`.

    That is `index.html`, `report.md`, `findings.json`, `scores.csv` (and `scores.parquet` where
    pyarrow is there), and the files in `tables/` and `figures/`. `runs` holds the run folders.
    Raises `ValueError` for a run's file that is not JSON.
    """
    results = read(plan, runs)
    answers = verdicts(results)
    variants, by_probe = tables.variants(results), robustness(results)
    page = Page(
        title=str(plan["title"] or plan["study"]),
        answer=answer(answers, by_probe.rows),
        summary=_summary(results),
        first=Section(contrasts.forest(results, answers), page_sentences.contrasts(answers)),
        notes=_notes(results),
        sentences=page_sentences.sentences(answers),
        cautions=cautions(results, answers, variants, by_probe),
        sections=_sections(results, answers, variants, by_probe, read_curves(results, runs)),
        gallery=gallery(plan, folder),
        protocol=protocol(results),
        text=str(plan["text"]),
    )
    _save(page, results, folder)
    shown = {table.name: table for table in page.tables}
    brief = ("variants", "contrasts", "learning", "failures")
    return Summary(
        page=folder / "index.html",
        num_failed=sum(trial.failed for trial in results.trials),
        sentences=tuple(page.sentences),
        cautions=tuple(page.cautions),
        tables=tuple(shown[name] for name in brief),
    )


def _sections(
    results: Results,
    answers: Sequence[Verdict],
    variants: Table,
    by_probe: Table,
    curves: Sequence[Curve],
) -> list[Section]:
    """Lays out all that stands below the answer, the most asked for first."""
    ranked, cost = ranking(results), tables.cost(results)
    return [
        Section(contrasts.dots(results, variants), variants),
        Section(charts.interactions(results, variants), None),
        Section(None, page_sentences.learning(answers)),
        Section(None, by_probe),
        Section(learning_curves.learning_curves(results, curves), None),
        Section(charts.critical_difference(ranked), tasks(results, ranked)),
        Section(None, totals(results)),
        Section(None, shares(results)),
        Section(None, components(results)),
        Section(charts.pareto(results, variants, cost), cost),
        Section(None, health(results)),
        Section(None, masks(results)),
        Section(None, tables.probes(results)),
        Section(None, tables.failures(results)),
    ]


def _summary(results: Results) -> str:
    variants, seeds = len(results.variants()), len({trial.seed for trial in results.trials})
    scored = sum(trial.score is not None for trial in results.trials)
    sound = heard(results.plan)
    return (
        f"Study {results.plan['study']}: {variants} variant{'s' * (variants != 1)}, "
        f"{seeds} seed{'s' * (seeds != 1)}, {scored} of {len(results.trials)} trials scored by "
        f"{tables.score_name(results)}{f', on {sound}' if sound else ''}."
    )


def _notes(results: Results) -> dict[str, str]:
    """Returns the study's notes on levels that some trial has."""
    joined = {level for trial in results.trials for level in trial.levels.values()}
    levels = {label for level in joined for label in level.split(AND)}
    notes = results.plan.get("notes") or {}
    return {level: note for level, note in notes.items() if level in levels}


def _save(page: Page, results: Results, folder: Path) -> None:
    scores = results.scores()
    write_atomically(folder / "scores.csv", scores.to_csv(index=False, lineterminator="\n"))
    if find_spec("pyarrow"):  # pandas writes no Parquet without it
        write_atomically(folder / "scores.parquet", scores.to_parquet(None, index=False))
    for table in page.tables:
        write_atomically(folder / "tables" / f"{table.name}.csv", table.csv())
        if table.rows:
            write_atomically(folder / "tables" / f"{table.name}.tex", table.latex())
    for picture in page.pictures:
        write_atomically(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
        write_atomically(folder / "figures" / f"{picture.name}.pdf", picture.pdf)
    write_json(folder / FILE, findings(results, page))
    write_atomically(folder / "report.md", page.markdown(folder))
    write_atomically(folder / "index.html", page.html())
