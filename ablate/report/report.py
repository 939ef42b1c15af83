"""Writes the report of a study from its plan and its run folders.

The same runs give the same bytes; no dates are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import rich.console

from ablate.core.io import write_atomically
from ablate.core.records.findings import FINDINGS_FILE
from ablate.core.records.plan import StudyPlan
from ablate.core.records.report_state import PrintedVerdict
from ablate.design.factors import AND
from ablate.report.figures import charts, contrasts, learning_curves
from ablate.report.figures.metrics import Curve, read_curves
from ablate.report.figures.scores import draw_scores
from ablate.report.pages import classes, tables
from ablate.report.pages import sentences as page_sentences
from ablate.report.pages.answer import write_answer, write_lead, write_seed_scope
from ablate.report.pages.baselines import build_baseline_table
from ablate.report.pages.caveats import list_caveats
from ablate.report.pages.cost import build_cost_table
from ablate.report.pages.escaping import neutralise_formula
from ablate.report.pages.findings import build_findings
from ablate.report.pages.glossary import define_verdicts
from ablate.report.pages.health import build_health_table, build_mask_table
from ablate.report.pages.latex import write_latex_tables
from ablate.report.pages.main_table import build_main_table
from ablate.report.pages.methods import format_data_summary, write_protocol
from ablate.report.pages.page import ReportPage, Section, build_gallery
from ablate.report.pages.seed_table import build_seed_table
from ablate.report.pages.table import Table
from ablate.report.pages.task_contrasts import build_task_contrast_table
from ablate.report.results import Results, read_results
from ablate.report.stats.aggregates import build_aggregate_table
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.ranks import build_task_table, compute_ranking
from ablate.report.stats.robustness import build_robustness_table
from ablate.report.stats.task_contrasts import estimate_task_contrasts
from ablate.report.stats.variance import build_spread_table, build_variance_share_table
from ablate.report.stats.verdicts import compute_verdicts
from ablate.report.stats.weighted_totals import build_totals_table
from ablate.report.terminal import print_verdicts


@dataclass(frozen=True, kw_only=True)
class ReportSummary:
    """A summary of a written report, for the terminal.

    Attributes:
        page: Path of the HTML page.
        num_failed: Number of failed trials.
        sentences: One sentence per contrast.
        caveats: What could invalidate or weaken the verdicts.
        tables: The tables of variants, contrasts, learning and failures.
    """

    page: Path
    num_failed: int
    sentences: tuple[page_sentences.Sentence, ...]
    caveats: tuple[str, ...]
    tables: tuple[Table, ...]

    @property
    def verdicts(self) -> tuple[PrintedVerdict, ...]:
        """The sentences as the terminal shows them."""
        return tuple(PrintedVerdict(word=s.word, text=str(s)) for s in self.sentences)

    def render(self, console: rich.console.Console) -> None:
        """Prints the brief tables, the verdicts, the caveats and the path of the page."""
        for table in self.tables:
            if table.rows:
                console.print(table.to_rich(console.width))
        print_verdicts(console, self.verdicts, self.caveats, self.page)


def write_report(plan: StudyPlan, runs: Path, folder: Path) -> ReportSummary:
    """Writes the report of a planned study from the results of its runs.

    Writes `index.html`, `report.md`, `findings.json`, `scores.csv`, `scores.parquet` (if pyarrow is
    installed), and the files in `tables/` and `figures/`.

    Args:
        plan: The plan of the study.
        runs: Folder of the run folders; trials that have not run are listed as such.
        folder: Folder of the report; existing files are overwritten.

    Returns:
        A summary for the terminal.

    Raises:
        ValueError: If a file of a run is not JSON, or of another format.

    Example:
        summary = write_report(plan, Path("runs"), Path("reports/masking"))
        summary.render(rich.console.Console())
    """
    results = read_results(plan, runs)
    verdicts = compute_verdicts(results)
    variants, by_probe = tables.build_variant_table(results), build_robustness_table(results)
    page = ReportPage(
        study=plan.study,
        title=plan.title or plan.study,
        description=plan.description,
        lead=write_lead(results),
        answer=[
            *write_seed_scope(results),
            *write_answer(verdicts, by_probe.rows, score=tables.format_score_name(results)),
        ],
        summary=_format_summary(results),
        first=Section(
            contrasts.draw_forest(results, verdicts), page_sentences.build_contrast_table(verdicts)
        ),
        notes=_select_notes(results),
        sentences=page_sentences.write_sentences(verdicts),
        meanings=define_verdicts(verdicts, results.plan.report),
        caveats=list_caveats(results, verdicts, variants, by_probe),
        sections=_build_sections(results, verdicts, variants, by_probe, read_curves(results, runs)),
        gallery=build_gallery(plan, folder),
        protocol=write_protocol(results),
        text=plan.text,
    )
    _write_files(page, results, folder)
    write_latex_tables(page.tables, build_main_table(results, verdicts), folder / "tables")
    by_name = {table.name: table for table in page.tables}
    in_terminal = ("variants", "contrasts", "learning", "untrained", "failures")
    return ReportSummary(
        page=folder / "index.html",
        num_failed=sum(trial.failed for trial in results.trials),
        sentences=tuple(page.sentences),
        caveats=tuple(page.caveats),
        tables=tuple(by_name[name] for name in in_terminal),
    )


def _build_sections(
    results: Results,
    verdicts: Sequence[Verdict],
    variants: Table,
    by_probe: Table,
    curves: Sequence[Curve],
) -> list[Section]:
    """Builds the sections below the answer, the most important first."""
    ranking, cost = compute_ranking(results), build_cost_table(results)
    tasks = classes.collect_classes(results)
    confusions = classes.build_confusion_table(results, tasks)
    return [
        Section(draw_scores(results, variants), variants),
        Section(charts.draw_interactions(results, variants), None),
        Section(None, page_sentences.build_learning_table(verdicts)),
        Section(None, page_sentences.build_untrained_table(verdicts)),
        Section(None, build_baseline_table(results)),
        Section(None, by_probe),
        Section(learning_curves.draw_learning_curves(results, curves), None),
        Section(charts.draw_critical_difference(ranking), build_task_table(results, ranking)),
        Section(None, _build_task_contrasts(results), folded=True),
        Section(None, classes.build_class_table(results, tasks), folded=True),
        Section(None, confusions, folded=True, matrices=classes.build_matrices(results, tasks)),
        Section(None, build_aggregate_table(results)),
        Section(None, build_totals_table(results)),
        Section(None, build_variance_share_table(results)),
        *_build_seed_sections(results),
        Section(None, build_spread_table(results)),
        Section(charts.draw_cost(results, variants, cost), cost),
        Section(None, build_health_table(results)),
        Section(None, build_mask_table(results)),
        Section(None, tables.build_probe_table(results)),
        Section(None, tables.build_failure_table(results)),
    ]


def _build_seed_sections(results: Results) -> list[Section]:
    """Builds the section of a study whose seeds are crossed."""
    separate = results.plan.separate_seeds
    return [Section(None, build_seed_table(results))] if separate and separate.crossed else []


def _build_task_contrasts(results: Results) -> Table:
    rules = read_decision_rules(results.plan)
    return build_task_contrast_table(
        estimate_task_contrasts(results), alpha=rules.look_alpha, margin=rules.margin
    )


def _format_summary(results: Results) -> str:
    variants, seeds = len(results.variants()), len({trial.seed for trial in results.trials})
    scored = sum(trial.score is not None for trial in results.trials)
    data = format_data_summary(results.plan)
    return (
        f"Study {results.plan.study}: {variants} variant{'s' * (variants != 1)}, "
        f"{seeds} seed{'s' * (seeds != 1)}, {scored} of {len(results.trials)} trials scored by "
        f"{tables.format_score_name(results)}{f', on {data}' if data else ''}."
    )


def _select_notes(results: Results) -> dict[str, str]:
    """Returns the study's notes on levels that some trial has."""
    joined = {level for trial in results.trials for level in trial.levels.values()}
    levels = {label for level in joined for label in level.split(AND)}
    return {level: note for level, note in results.plan.notes.items() if level in levels}


def _write_files(page: ReportPage, results: Results, folder: Path) -> None:
    scores = results.scores()
    safe = scores.map(neutralise_formula)
    write_atomically(folder / "scores.csv", safe.to_csv(index=False, lineterminator="\n"))
    if find_spec("pyarrow"):  # pandas needs it to write Parquet
        write_atomically(folder / "scores.parquet", scores.to_parquet(None, index=False))
    for table in page.tables:
        write_atomically(folder / "tables" / f"{table.name}.csv", table.to_csv())
    for picture in page.pictures:
        write_atomically(folder / "figures" / f"{picture.name}.svg", picture.svg)
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
        write_atomically(folder / "figures" / f"{picture.name}.pdf", picture.pdf)
    build_findings(results, page).write(folder / FINDINGS_FILE)
    write_atomically(folder / "report.md", page.to_markdown(folder))
    write_atomically(folder / "index.html", page.to_html())
