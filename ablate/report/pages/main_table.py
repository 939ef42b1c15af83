"""Builds the short table of a paper: every pooled contrast, with its interval and verdict."""

from collections.abc import Sequence

from ablate.report.pages.claims import format_scope
from ablate.report.pages.latex import MAIN_TABLE
from ablate.report.pages.table import (
    MINUS,
    Column,
    Row,
    Table,
    interval_cell,
    number_cell,
    p_cell,
    text_cell,
)
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.decisions import Verdict, get_level_key


def build_main_table(results: Results, verdicts: Sequence[Verdict]) -> Table:
    """Builds the short table of a paper: every pooled contrast, and where it depends on others.

    If a contrast differs by combination, those within a combination follow it.
    """
    rows = [row for verdict in verdicts for row in _list_main_rows(verdict, verdicts)]
    alpha = {verdict.interval_alpha for verdict in verdicts if verdict.contrast.family == "pooled"}
    gains = any(row["measure"] == "gain" for row in rows)
    below = any(str(row["verdict"]).startswith("(") for row in rows)
    margin = results.plan.report.equivalence_margin
    seeds = len({trial.seed for trial in results.trials})
    scope = results.plan.separate_seeds.scope if results.plan.separate_seeds else ""
    caption = (
        f"Differences in points of {format_score_name(results)}, mean over {seeds} paired "
        f"seed{'s' * (seeds != 1)}"
    )
    notes = (
        ", averaged over combinations."
        if any(v.contrast.pooled_factors for v in verdicts)
        else ".",
        " Gain: relative to the same encoder at random init." if gains else "",
        " p: Holm-corrected. Interval: uncorrected.",
        f" Verdicts: {scope}." if scope else "",
        f" Equal: shown to differ by less than {margin:g} points." if margin else "",
        f" In parentheses: a difference below {margin:g} points." if below else "",
    )
    return Table(
        name=MAIN_TABLE,
        title=results.plan.title or results.plan.study,
        caption=caption + "".join(notes),
        columns=(
            Column(head="contrast", format=text_cell("contrast"), text=True),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head=f"{format_coverage(*alpha)} interval", format=interval_cell("difference")),
            Column(head="p", format=p_cell("p")),
            Column(head="verdict", format=text_cell("verdict")),
        ),
        rows=tuple(rows),
    )


def _list_main_rows(verdict: Verdict, verdicts: Sequence[Verdict]) -> list[Row]:
    contrast = verdict.contrast
    if contrast.family != "pooled":
        return []
    differs = verdict.word.startswith("differs")
    within = [
        other
        for other in verdicts
        if differs
        and other.contrast.family == "within"
        and get_level_key(other.contrast) == get_level_key(contrast)
    ]
    gain = " (gain)" if contrast.measure == "gain" else ""
    name = f"{contrast.factor}: {_name_levels(contrast)}{gain}"
    return [
        _build_main_row(verdict, name),
        *(_build_main_row(other, f"... with {format_scope(other.contrast)}") for other in within),
    ]


def _name_levels(contrast: Contrast) -> str:
    return f"{contrast.level} {MINUS} {contrast.against}"


def _build_main_row(verdict: Verdict, name: str) -> Row:
    word = {"equivalent": "equal"}.get(verdict.word, verdict.word.split()[0])
    return {
        "contrast": name,
        "measure": verdict.contrast.measure,
        "difference": verdict.estimate.mean,
        "difference_low": verdict.estimate.low,
        "difference_high": verdict.estimate.high,
        "p": verdict.p,
        "verdict": f"({word})" if verdict.is_below_margin else word,
    }
