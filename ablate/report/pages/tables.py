"""Builds the tables of variants, probes and failures."""

import itertools
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from ablate.report.pages.table import (
    PLUS_MINUS,
    Column,
    Row,
    Table,
    format_number,
    interval_cell,
    number_cell,
    share_cell,
    text_cell,
)
from ablate.report.results import (
    Results,
    TrialResult,
    format_variant,
    get_factor_column,
    get_levels,
)
from ablate.report.run import RunResult
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.statistics import correct_by_holm, estimate_mean
from ablate.runs.scores import get_statistics_pooling

PROBE_KEYS = ("probe", "pooling", "task")  # identify a score


def build_variant_table(results: Results) -> Table:
    """Builds the table of scores by variant, with the health of its runs.

    Means over seeds: scores in percent, gains in points, context and targets as shares of the grid.
    `failed` and `collapsed` are numbers of trials.
    """
    alpha = results.plan.report.alpha
    interval, count = f"{format_coverage(alpha)} interval", results.num_random_inits
    inits = f" (mean of {count} untrained encoders per seed)" if count > 1 else ""
    return Table(
        name="variants",
        title="Variants",
        caption=f"Score: mean test {format_score_name(results)} over tasks, in percent; mean over "
        f"pre-training seeds with its Student-t {interval}. Gain: score minus that of the same "
        f"encoder at random init{inits}. Context and targets: realised shares of the grid.",
        columns=(
            *build_factor_columns(results),
            Column(head="seeds", format=lambda row: f"{row['n']} of {row['planned']}"),
            Column(head="score", format=number_cell("score")),
            Column(head=interval, format=interval_cell("score")),
            Column(head="gain", format=number_cell("gain", signed=True)),
            Column(head="gain's interval", format=interval_cell("gain"), brief=False),
            Column(head="random init", format=number_cell("random_init")),
            Column(head="mel statistics", format=number_cell("mel_statistics"), brief=False),
            Column(head="context", format=share_cell("context")),
            Column(head="targets", format=share_cell("targets")),
            Column(head="failed", format=lambda row: str(row["failed"])),
            Column(head="collapsed", format=lambda row: str(row["collapsed"])),
            Column(head="effective rank", format=number_cell("effective_rank"), brief=False),
        ),
        rows=tuple(
            {
                **_build_variant_row(build_variant_cells(results, levels), trials, alpha),
                "over_mel_statistics_p": p,
            }
            for (levels, trials), p in zip(
                results.variants().items(), _test_against_mel_statistics(results), strict=True
            )
        ),
    )


def _test_against_mel_statistics(results: Results) -> list[float | None]:
    """Tests each variant against log-mel statistics over seeds; Holm-corrected over variants."""
    differences = [
        _drop_missing(subtract(trial.score, trial.mel_statistics_score) for trial in trials)
        for trials in results.variants().values()
    ]
    alpha = results.plan.report.alpha
    return correct_by_holm([estimate_mean(values, alpha=alpha).p for values in differences])


def _build_variant_row(name: Row, trials: Sequence[TrialResult], alpha: float) -> Row:
    """Builds the row of a variant: its scores over seeds, and the state of its trials."""
    score = estimate_mean(_drop_missing(trial.score for trial in trials), alpha=alpha)
    gain = estimate_mean(_drop_missing(trial.gain for trial in trials), alpha=alpha)
    mel_statistics = compute_mean(trial.mel_statistics_score for trial in trials)
    return {
        **name,
        "planned": len(trials),
        "n": score.n,
        "score": score.mean,
        "score_low": score.low,
        "score_high": score.high,
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "random_init": compute_mean(trial.random_init_score for trial in trials),
        "mel_statistics": mel_statistics,
        "over_mel_statistics": subtract(score.mean, mel_statistics),
        "context": _get_realised_share(trials, "context"),
        "targets": _get_realised_share(trials, "targets"),
        "failed": sum(trial.failed for trial in trials),
        "collapsed": sum(trial.collapsed for trial in trials),
        "effective_rank": compute_mean(trial.metrics.get("effective_rank") for trial in trials),
    }


def build_probe_table(results: Results) -> Table:
    """Builds the table of every probe, pooling and task of each variant and its two references.

    Scores are in percent, gains in points; the study's own probe and pooling come first.
    """
    own = {trial.probe_key for trial in results.trials}
    rows = [
        _build_probe_row(build_variant_cells(results, levels), trials, key)
        for levels, trials in results.variants().items()
        for key in _list_score_keys(trials)
    ]
    rows.sort(  # stable: variants stay in the order of the plan
        key=lambda row: (
            (row["probe"], row["pooling"]) not in own,
            *(row[key] for key in PROBE_KEYS),
        )
    )
    return Table(
        name="probes",
        title="Probes",
        caption=f"Every probe on the frozen features, in percent: mean {PLUS_MINUS} standard "
        "deviation over pre-training seeds. Mel statistics: the log-mel bands, pooled as the "
        "encoder's tokens are. Gain: trained minus random init.",
        columns=(
            *(Column(head=key, format=text_cell(key), text=True) for key in PROBE_KEYS),
            *build_factor_columns(results),
            Column(head="trained", format=lambda row: _format_spread(row, "trained_test")),
            Column(head="random init", format=lambda row: _format_spread(row, "random_init_test")),
            Column(
                head="mel statistics", format=lambda row: _format_spread(row, "mel_statistics_test")
            ),
            Column(head="gain", format=number_cell("gain", signed=True)),
            Column(
                head="over mel statistics",
                format=number_cell("over_mel_statistics", signed=True),
            ),
            Column(
                head="trained, validation", format=lambda row: _format_spread(row, "trained_valid")
            ),
        ),
        rows=tuple(rows),
    )


def _list_score_keys(trials: Sequence[TrialResult]) -> Iterable[tuple[str, str, str]]:
    """Lists the (probe, pooling, task) of all scores of a variant."""
    runs = (run for trial in trials for run in (trial.run, *trial.random_inits))
    scores = (score for run in runs for score in run.scores)
    return dict.fromkeys((score.probe, score.pooling, score.task) for score in scores)


def _build_probe_row(name: Row, trials: Sequence[TrialResult], key: tuple[str, str, str]) -> Row:
    """Builds the row of a variant for one probe, pooling and task."""
    probe, pooling, task = key
    row = {
        **dict(zip(PROBE_KEYS, key, strict=True)),
        **name,
        **_summarise_scores("trained", [trial.run for trial in trials], key),
        **_summarise_scores("random_init", [r for t in trials for r in t.random_inits], key),
        **_summarise_scores(
            "mel_statistics",
            [trial.mel_statistics for trial in trials],
            (probe, get_statistics_pooling(pooling), task),
        ),
    }
    gain = subtract(row["trained_test"], row["random_init_test"])
    over_mel = subtract(row["trained_test"], row["mel_statistics_test"])
    return {**row, "gain": gain, "over_mel_statistics": over_mel}


def build_failure_table(results: Results) -> Table:
    """Builds the table of trials without a score and of collapsed trials, with their reasons."""
    by_variant = itertools.chain.from_iterable(results.variants().values())
    listed = (*by_variant, *results.confirmation_trials, *results.crossing_trials)
    rows = [
        {
            **build_variant_cells(results, get_levels(trial, results.factors)),
            "seed": trial.seed,
            "run": trial.fingerprint,
            "state": "collapsed" if trial.collapsed and trial.state == "done" else trial.state,
            "reason": trial.reason,
            "score": trial.score,
        }
        for trial in listed
        if trial.state != "done" or trial.collapsed
    ]
    return Table(
        name="failures",
        title="Failed, missing and collapsed trials",
        caption="A trial without a score enters no mean. A collapsed trial that could be probed "
        "keeps its score.",
        columns=(
            *build_factor_columns(results),
            Column(head="seed", format=text_cell("seed")),
            Column(head="run", format=text_cell("run"), text=True),
            Column(head="state", format=text_cell("state"), text=True),
            Column(head="reason", format=text_cell("reason"), text=True),
            Column(head="score", format=number_cell("score")),
        ),
        rows=tuple(rows),
    )


def format_score_name(results: Results) -> str:
    """Formats the study's score as in its YAML: `knn.concat_freq`."""
    probes = dict.fromkeys(trial.probe_key[0] for trial in results.trials)
    return f"{' or '.join(probes)}.{results.plan.score.pooling}"


def build_factor_columns(results: Results) -> list[Column]:
    """Builds a column per factor; without factors, a column for the variant."""
    names = [get_factor_column(factor) for factor in results.factors] or ["variant"]
    return [Column(head=name, format=text_cell(name), text=True) for name in names]


def build_variant_cells(results: Results, levels: tuple[str, ...]) -> dict[str, Any]:
    """Builds the cells that identify a variant: its name, and its level of each factor."""
    cells = zip(map(get_factor_column, results.factors), levels, strict=True)
    return {"variant": format_variant(levels), **dict(cells)}


def _summarise_scores(
    name: str, runs: Sequence[RunResult], key: tuple[str, str, str]
) -> dict[str, Any]:
    """Computes mean and standard deviation over seeds of one score, for test and validation."""
    summary: dict[str, Any] = {}
    for split in ("test", "valid"):
        values = _drop_missing(
            getattr(score, split)
            for run in {id(run): run for run in runs}.values()  # seeds may share a run
            for score in run.scores
            if (score.probe, score.pooling, score.task) == key
        )
        summary[f"{name}_{split}"] = fmean(values) if values else None
        summary[f"{name}_{split}_sd"] = stdev(values) if len(values) > 1 else None
    return summary


def subtract(one: float | None, other: float | None) -> float | None:
    """Computes one minus other; None if either is None."""
    return None if one is None or other is None else one - other


def _get_realised_share(trials: Sequence[TrialResult], name: str) -> float | None:
    """Returns the share of the grid that runs recorded, or the planned one if none has run."""
    metric = {"context": "context_fraction", "targets": "target_fraction"}[name]
    recorded = compute_mean(trial.metrics.get(metric) for trial in trials)
    return (
        compute_mean(getattr(trial.plan.facts, name) for trial in trials)
        if recorded is None
        else recorded
    )


def _drop_missing(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def compute_mean(values: Iterable[float | None]) -> float | None:
    """Computes the mean of the values that are not None; None if all are."""
    present = _drop_missing(values)
    return fmean(present) if present else None


def _format_spread(row: Row, name: str) -> str:
    sd = row[f"{name}_sd"]
    return format_number(row[name]) + (
        f" {PLUS_MINUS} {format_number(sd)}" if sd is not None else ""
    )
