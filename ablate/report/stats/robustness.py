"""Whether a verdict depends on the probe: each contrast by every probe and pooling there is.

A study's score is by one probe and one pooling. What the others say is on disk already; where
they disagree on the sign, a difference says as much about the probe as about the encoder.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ablate.report.pages.sentences import CONTRAST_COLUMNS, format_scope
from ablate.report.pages.table import (
    CellFormatter,
    Column,
    Row,
    Table,
    format_interval,
    format_number,
    text_cell,
)
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, TrialResult, compute_mean_score
from ablate.report.stats.contrasts import Contrast, list_score_contrasts
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.statistics import Estimate, estimate_mean
from ablate.report.stats.verdicts import compute_verdicts

SUFFIXES = {"mean": "", "low": "_low", "high": "_high"}  # of the names in a row
GAINS = (
    " Gain: each arm minus its own random init, on which the verdict rests. Score: what the "
    "trained encoders end with; a pooling that gives more features of one of them favours it."
)
ONE_ROW = " Of a grid of one row, mean and concat_freq are the same features."
Bounds = tuple[float | None, float | None, float | None]  # a difference, and its interval


def build_robustness_table(results: Results) -> Table:
    """Tabulates pooled and learning contrasts by all that scored every run that has a score.

    What is judged by gain has a second row, by the score itself, which is not `judged`. A row per
    contrast, a column per probe and pooling, the study's own score first. `other_sign`
    of a row names what lies, with its whole interval, beyond zero from the study's own difference.
    There are no rows where there is no score but the study's own.
    """
    views = {format_score_name(view): _estimate_contrasts(view) for view in _list_views(results)}
    own = format_score_name(results)
    rows = [
        _build_row(contrast, {name: found[i][1] for name, found in views.items()}, judged=judged)
        for i, (contrast, _, judged) in enumerate(views[own] if len(views) > 1 else ())
    ]
    gains = not all(row["judged"] for row in rows)
    one_row = any(trial.plan.get("grid", [0])[0] == 1 for trial in results.trials)
    return Table(
        name="robustness",
        title="Does it depend on the probe?",
        caption=f"The same differences by every probe and pooling, {own} first: in points, with "
        "the pairing and the intervals of the contrasts above. An asterisk: the interval excludes "
        "zero. There are no p-values, and nothing is corrected for so many columns: they are "
        f"descriptive only.{GAINS if gains else ''}{ONE_ROW if one_row else ''}",
        columns=(
            *CONTRAST_COLUMNS,
            *([Column(head="measure", format=text_cell("measure"), text=True)] if gains else []),
            *(Column(head=name, format=_difference_cell(name)) for name in views),
        ),
        rows=tuple(rows),
    )


def format_difference(row: Row, name: str) -> str:
    """Writes a row's difference by a probe and pooling, with its interval: `+2.7 [1.3, 4.2]`."""
    mean, low, high = _get_bounds(row, name)
    known = "" if low is None or high is None else f" {format_interval(low, high)}"
    return f"{format_number(mean, signed=True)}{known}"


def get_mean_differences(row: Row) -> dict[str, float | None]:
    """Returns a row's difference by every probe and pooling, the study's own first."""
    names = (name.removesuffix("_low") for name in row if name.endswith("_low"))
    return {name: row[name] for name in names}


def _list_views(results: Results) -> Iterator[Results]:
    """Yields the results by each probe and pooling that scored all that the study's own did.

    Where the probe is a factor, each trial keeps its own.
    """
    yield results
    varied = any("probe" in trial.plan for trial in results.trials)
    scores = (score for trial in results.trials for score in trial.run.scores)
    asked = dict.fromkeys((None if varied else of.probe, of.pooling) for of in scores)
    own = results.plan["score"]
    asked.pop((None if varied else own["probe"], own["pooling"]), None)
    for probe, pooling in asked:
        view = _rescore(results, probe, pooling)
        if all(map(_is_as_complete, view.trials, results.trials)):
            yield view


def _rescore(results: Results, probe: str | None, pooling: str) -> Results:
    def again(trial: TrialResult) -> TrialResult:
        asked = (probe or trial.probe_key[0], pooling)
        score, random_init_score = (
            compute_mean_score(results.plan, trial.plan, run, asked)[0]
            for run in (trial.run, trial.random_init)
        )
        return dataclasses.replace(
            trial, probe_key=asked, score=score, random_init_score=random_init_score
        )

    plan = {**results.plan, "score": {**results.plan["score"], "pooling": pooling}}
    trials = tuple(again(trial) for trial in results.trials)
    return dataclasses.replace(results, plan=plan, trials=trials, confirmation_trials=())


def _is_as_complete(one: TrialResult, other: TrialResult) -> bool:
    pairs = ((one.score, other.score), (one.random_init_score, other.random_init_score))
    return all(mine is not None or theirs is None for mine, theirs in pairs)


def _estimate_contrasts(results: Results) -> list[tuple[Contrast, Estimate, bool]]:
    """Estimates what has a row, and says whether a verdict rests on it."""
    found = [(verdict.contrast, verdict.estimate, True) for verdict in compute_verdicts(results)]
    level = read_decision_rules(results.plan).level
    scores = [
        (contrast, estimate_mean([*contrast.differences.values()], alpha=level), False)
        for contrast in list_score_contrasts(results)
    ]
    pooled, learning = (
        [one for one in found if one[0].family == family] for family in ("pooled", "learning")
    )
    return [*pooled, *scores, *learning]


def _build_row(
    contrast: Contrast, found: Mapping[str, Estimate], *, judged: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "family": contrast.family,
        "factor": contrast.factor,
        "level": contrast.level,
        "against": contrast.against,
        "where": format_scope(contrast),
        "measure": contrast.measure,
        "judged": judged,
    }
    for name, estimate in found.items():
        row |= {f"{name}{end}": getattr(estimate, of) for of, end in SUFFIXES.items()}
    own, *others = found
    sign = found[own].mean or 0.0
    opposed = [name for name in others if sign * _get_side_of_zero(_get_bounds(row, name)) < 0]
    return {
        **row,
        "other_sign": "; ".join(f"{format_difference(row, name)} by {name}" for name in opposed),
    }


def _get_bounds(row: Row, name: str) -> Bounds:
    mean, low, high = (row[f"{name}{end}"] for end in SUFFIXES.values())
    return mean, low, high


def _get_side_of_zero(bounds: Bounds) -> int:
    """Returns on which side of zero the whole interval lies; 0 where it holds zero, or is none."""
    _, low, high = bounds
    return 0 if low is None or high is None else (low > 0) - (high < 0)


def _difference_cell(name: str) -> CellFormatter:
    return lambda row: (
        format_difference(row, name) + " *" * abs(_get_side_of_zero(_get_bounds(row, name)))
    )
