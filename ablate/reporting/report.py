"""The door of this room: a plan and its run folders go in, a folder with the report comes out.

The same runs give the same bytes: nothing here knows what time it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich.console
import rich.table
import rich.text

from ablate.files import write_atomically
from ablate.reporting import figures, tables, wording
from ablate.reporting.curves import read_curves
from ablate.reporting.page import Page, gallery
from ablate.reporting.protocol import cautions, protocol
from ablate.reporting.rendering import Table
from ablate.reporting.results import Results, read
from ablate.reporting.verdicts import verdicts

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
    num_trials: int
    num_scored: int
    num_failed: int
    sentences: tuple[wording.Sentence, ...]
    cautions: tuple[str, ...]
    tables: tuple[Table, ...]

    @property
    def num_missing(self) -> int:
        """Counts the trials that have neither failed nor a score."""
        return self.num_trials - self.num_scored - self.num_failed

    def render(self, console: rich.console.Console) -> None:
        """Shows the short tables, then the verdicts, then where the page lies."""
        for table in self.tables:
            if table.rows:
                console.print(table.renderable())
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
    """Reads the runs of a planned study and writes its report into `folder`."""
    results = read(plan, runs)
    answers = verdicts(results)
    variants = tables.variants(results)
    shown = {
        "variants": variants,
        "contrasts": wording.contrasts(results, answers),
        "learning": wording.learning(results, answers),
        "probes": tables.probes(results),
        "cost": tables.cost(results),
        "failures": tables.failures(results),
    }
    drawn = (
        figures.forest(results, answers),
        figures.dots(results, variants),
        figures.learning_curves(results, read_curves(results, runs)),
    )
    page = Page(
        study=str(plan["study"]),
        title=str(plan["title"] or plan["study"]),
        summary=_summary(results),
        sentences=wording.sentences(answers),
        cautions=cautions(results, answers, variants),
        pictures=[picture for picture in drawn if picture is not None],
        tables=list(shown.values()),
        gallery=gallery(plan, folder),
        protocol=protocol(results),
        text=str(plan["text"]),
    )
    _save(page, results, folder)
    brief = ("variants", "contrasts", "learning", "failures")
    return Summary(
        page=folder / "index.html",
        num_trials=len(results.trials),
        num_scored=sum(trial.score is not None and not trial.failed for trial in results.trials),
        num_failed=sum(trial.failed for trial in results.trials),
        sentences=tuple(page.sentences),
        cautions=tuple(page.cautions),
        tables=tuple(shown[name] for name in brief),
    )


def _summary(results: Results) -> str:
    variants, seeds = len(results.variants()), len({trial.seed for trial in results.trials})
    scored = sum(trial.score is not None for trial in results.trials)
    return (
        f"Study {results.plan['study']}: {variants} variant{'s' * (variants != 1)}, "
        f"{seeds} seed{'s' * (seeds != 1)}, {scored} of {len(results.trials)} trials scored by "
        f"{tables.score_name(results)}."
    )


def _save(page: Page, results: Results, folder: Path) -> None:
    scores = results.scores().to_csv(index=False, lineterminator="\n")
    write_atomically(folder / "scores.csv", scores)
    for table in page.tables:
        write_atomically(folder / "tables" / f"{table.name}.csv", table.csv())
        if table.rows:
            write_atomically(folder / "tables" / f"{table.name}.tex", table.latex())
    for picture in page.pictures:
        write_atomically(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.md", page.markdown(folder))
    write_atomically(folder / "index.html", page.html())
