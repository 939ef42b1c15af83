"""Builds the table of each contrast by every available probe and pooling.

A study's score uses one probe and one pooling; scores by the others are on disk as well. If they
disagree on the sign, a difference depends on the probe as much as on the encoder.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ablate.report.mean_scores import (
    compute_mean_score,
    compute_random_init_score,
    compute_untrained_scores,
)
from ablate.report.pages.claims import format_scope
from ablate.report.pages.sentences import CONTRAST_COLUMNS
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
from ablate.report.results import Results, TrialResult
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.contrasts import list_contrasts, list_score_contrasts
from ablate.report.stats.decision_rules import read_decision_rules
from ablate.report.stats.statistics import Estimate

SUFFIXES = {"mean": "", "low": "_low", "high": "_high"}  # estimate -> key suffix in a row
GAINS = (
    " Gain: each arm minus its own random init; the verdict is based on it. Score: the final score "
    "of the trained encoders; a pooling that yields more features for one of them favours it."
)
ONE_ROW = " On a grid of one row, mean and concat_freq are the same features."
Bounds = tuple[float | None, float | None, float | None]  # mean, low, high


def build_robustness_table(results: Results) -> Table:
    """Builds the table of pooled and learning contrasts by probe and pooling, in points.

    One row per contrast, one column per probe and pooling that scored every run, the study's own
    score first. A contrast that is judged by gain has a second row by score, with `judged` false.
    `other_sign` lists the probes and poolings whose whole interval lies on the other side of zero
    from the study's own, and is empty if that includes zero. The table is empty if there is only
    the study's own score.
    """
    views = {format_score_name(view): _estimate_contrasts(view) for view in _list_views(results)}
    own = format_score_name(results)
    rows = [
        _build_row(
            contrast, {name: estimates[i][1] for name, estimates in views.items()}, judged=judged
        )
        for i, (contrast, _, judged) in enumerate(views[own] if len(views) > 1 else ())
    ]
    gains = not all(row["judged"] for row in rows)
    one_row = any(trial.plan.facts.grid[0] == 1 for trial in results.trials)
    return Table(
        name="robustness",
        title="Does it depend on the probe?",
        caption=f"The same differences by every probe and pooling, {own} first: in points, with "
        "the pairing and the intervals of the contrasts above. An asterisk: the interval excludes "
        "zero. There are no p-values and no correction for the number of columns: the table is "
        f"descriptive only.{GAINS if gains else ''}{ONE_ROW if one_row else ''}",
        columns=(
            *CONTRAST_COLUMNS,
            *([Column(head="measure", format=text_cell("measure"), text=True)] if gains else []),
            *(Column(head=name, format=_difference_cell(name)) for name in views),
        ),
        rows=tuple(rows),
    )


def format_difference(row: Row, name: str) -> str:
    """Formats a row's difference by one probe and pooling with its interval: `+2.7 [1.3, 4.2]`."""
    mean, low, high = _get_bounds(row, name)
    bounds = "" if low is None or high is None else f" {format_interval(low, high)}"
    return f"{format_number(mean, signed=True)}{bounds}"


def get_differences(row: Row) -> dict[str, Bounds]:
    """Returns a row's (mean, low, high) by every probe and pooling, the study's own first."""
    names = (name.removesuffix("_low") for name in row if name.endswith("_low"))
    return {name: _get_bounds(row, name) for name in names}


def _list_views(results: Results) -> Iterator[Results]:
    """Yields the results by each probe and pooling that scored all runs; the study's own first.

    If the probe is a factor, each trial keeps its own probe.
    """
    yield results
    probe_is_factor = any(trial.plan.probe for trial in results.trials)
    scores = (score for trial in results.trials for score in trial.run.scores)
    keys = dict.fromkeys((None if probe_is_factor else s.probe, s.pooling) for s in scores)
    own = results.plan.score
    keys.pop((None if probe_is_factor else own.probe, own.pooling), None)
    for probe, pooling in keys:
        view = _rescore(results, probe, pooling)
        if all(map(_is_as_complete, view.trials, results.trials)):
            yield view


def _rescore(results: Results, probe: str | None, pooling: str) -> Results:
    """Replaces all scores by those of another pooling and, unless None, another probe."""

    def rescore_trial(trial: TrialResult) -> TrialResult:
        key = (probe or trial.probe_key[0], pooling)
        planned = results.plan, trial.plan
        return dataclasses.replace(
            trial,
            probe_key=key,
            score=compute_mean_score(*planned, trial.run, key)[0],
            random_init_score=compute_random_init_score(*planned, trial.random_inits, key),
            untrained_scores=compute_untrained_scores(
                *planned, trial.random_inits, trial.mel_statistics, key
            ),
        )

    score = dataclasses.replace(results.plan.score, pooling=pooling)
    plan = dataclasses.replace(results.plan, score=score)
    trials = tuple(map(rescore_trial, results.trials))
    return dataclasses.replace(results, plan=plan, trials=trials, confirmation_trials=())


def _is_as_complete(one: TrialResult, other: TrialResult) -> bool:
    """Checks whether one trial has every score that the other has."""
    pairs = (
        (one.score, other.score),
        (one.random_init_score, other.random_init_score),
    )
    return all(score is not None or reference is None for score, reference in pairs)


def _estimate_contrasts(results: Results) -> list[tuple[Contrast, Estimate, bool]]:
    """Lists the contrasts with their estimates, and whether a verdict is based on them."""
    level = read_decision_rules(results.plan).look_alpha
    contrasts = list_contrasts(results)
    pooled, learning = (
        [(contrast, True) for contrast in contrasts if contrast.family == family]
        for family in ("pooled", "learning")
    )
    scores = [(contrast, False) for contrast in list_score_contrasts(results)]
    return [
        (contrast, contrast.estimate(alpha=level), judged)
        for contrast, judged in (*pooled, *scores, *learning)
    ]


def _build_row(
    contrast: Contrast, estimates: Mapping[str, Estimate], *, judged: bool
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
    for name, estimate in estimates.items():
        row |= {f"{name}{end}": getattr(estimate, key) for key, end in SUFFIXES.items()}
    own, *others = estimates
    side = get_side_of_zero(_get_bounds(row, own))
    opposed = [name for name in others if side * get_side_of_zero(_get_bounds(row, name)) < 0]
    return {
        **row,
        "other_sign": "; ".join(f"{format_difference(row, name)} by {name}" for name in opposed),
    }


def _get_bounds(row: Row, name: str) -> Bounds:
    mean, low, high = (row[f"{name}{end}"] for end in SUFFIXES.values())
    return mean, low, high


def get_side_of_zero(bounds: Bounds) -> int:
    """Returns -1 or 1 for an interval below or above zero; 0 if it includes zero or is missing."""
    _, low, high = bounds
    return 0 if low is None or high is None else (low > 0) - (high < 0)


def _difference_cell(name: str) -> CellFormatter:
    return lambda row: (
        format_difference(row, name) + " *" * abs(get_side_of_zero(_get_bounds(row, name)))
    )
