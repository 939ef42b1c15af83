"""Aggregates over many tasks: interquartile means, and the probability of an improvement.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS
2021. https://arxiv.org/abs/2108.13264
Unlike there: the tasks of a seed share an encoder, so seeds are left out as a whole; and intervals
are Student's t with the jackknife's standard error over seeds, since percentiles of a bootstrap
over 3, 5 and 8 seeds cover 67-78, 81-84 and 88-90 % (`tests/report/test_aggregates.py`).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.report.pages.table import Column, Table, interval_cell, number_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells
from ablate.report.results import Results, TrialResult
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.ranks import MIN_TASKS

Numbers = NDArray[np.float64]
Statistic = Callable[..., Numbers]  # takes arrays (..., tasks, seeds), returns (...)
MIN_SEEDS = 3
# share of a binomial standard error over seeds that an interval of a probability never falls below:
# if all runs agree, others need not
LEAST_ERROR = 0.3


def compute_interquartile_mean(scores: Numbers) -> Numbers:
    """Computes the mean of the middle half of all runs on all tasks, (..., tasks, seeds)."""
    runs = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    count = runs.shape[-1]
    places = np.arange(count)
    weights = np.clip(np.minimum(places + 1 - count / 4, 3 * count / 4 - places), 0, 1)
    return np.asarray((runs * weights).sum(axis=-1) / weights.sum())


def compute_improvement(scores: Numbers, against: Numbers) -> Numbers:
    """Computes the probability that a run scores higher than one of another seed of `against`.

    The mean over tasks; ties count half. Both are (..., tasks, seeds) of the same seeds.
    """
    seeds = scores.shape[-1]
    signs = np.sign(scores[..., :, None] - against[..., None, :])
    other = 1 - np.eye(seeds)
    return np.asarray(
        0.5 + 0.5 * ((signs * other).sum(axis=(-1, -2)) / (seeds * (seeds - 1))).mean(axis=-1)
    )


def compute_half_width(statistic: Statistic, arrays: Sequence[Numbers], alpha: float) -> Numbers:
    """Computes half of the interval of a statistic over seeds, the last axis of every array."""
    seeds = arrays[0].shape[-1]
    without = np.stack(
        [statistic(*(np.delete(array, seed, -1) for array in arrays)) for seed in range(seeds)]
    )
    error = np.sqrt((seeds - 1) / seeds * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    if statistic is compute_improvement:
        smoothed = (statistic(*arrays) * seeds + 0.5) / (seeds + 1)
        error = np.maximum(error, LEAST_ERROR * np.sqrt(smoothed * (1 - smoothed) / seeds))
    return np.asarray(-special.stdtrit(seeds - 1, alpha / 2) * error)


def build_aggregate_table(results: Results) -> Table:
    """Builds the table of aggregates over tasks; empty below five tasks or three seeds."""
    alpha = results.plan.report.alpha
    scores = {levels: _collect(trials) for levels, trials in results.variants().items()}
    baseline = scores.get(tuple(results.plan.baseline[name] for name in results.factors), {})
    rows = [
        {**build_variant_cells(results, levels), **values}
        for levels, own in scores.items()
        if (values := _compute_row(own, {} if own is baseline else baseline, alpha))
    ]
    interval = f"{format_coverage(alpha)} interval"
    return Table(
        name="aggregates",
        title="Aggregates over tasks",
        caption="Interquartile mean: of the middle half of all runs on all tasks, in percent, and "
        "its difference to the baseline's, in points. Improvement: the probability that a run "
        "scores higher than a run of the baseline with another seed, mean over tasks, in percent. "
        "Intervals are over seeds, for these tasks, and uncorrected.",
        columns=(
            *build_factor_columns(results),
            Column(head="interquartile mean", format=number_cell("iqm")),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head=interval, format=interval_cell("difference")),
            Column(head="improvement", format=number_cell("improvement", 0)),
            Column(head="its interval", format=interval_cell("improvement")),
        ),
        rows=tuple(rows),
    )


def _collect(trials: Sequence[TrialResult]) -> dict[int, dict[str, float]]:
    """Collects scores by seed and task."""
    return {
        trial.seed: {
            score.task: score.test
            for score in trial.run.scores
            if (score.probe, score.pooling) == trial.probe_key and score.test is not None
        }
        for trial in trials
        if trial.score is not None
    }


def _compute_row(
    own: dict[int, dict[str, float]], against: dict[int, dict[str, float]], alpha: float
) -> dict[str, float | None]:
    """Computes the aggregates of a variant, against the baseline if that is another one."""
    tasks = sorted(set.intersection(*map(set, own.values()))) if own else []
    if len(tasks) < MIN_TASKS or len(own) < MIN_SEEDS:
        return {}
    row: dict[str, float | None] = dict.fromkeys(
        f"{name}{end}" for name in ("difference", "improvement") for end in ("", "_low", "_high")
    )
    row["iqm"] = float(compute_interquartile_mean(_to_array(own, [*own], tasks)))
    seeds = [seed for seed in own if seed in against and set(tasks) <= set(against[seed])]
    if len(seeds) < MIN_SEEDS:
        return row
    arrays = _to_array(own, seeds, tasks), _to_array(against, seeds, tasks)

    def subtract_means(one: Numbers, other: Numbers) -> Numbers:
        return compute_interquartile_mean(one) - compute_interquartile_mean(other)

    mean = float(subtract_means(*arrays))
    half = float(compute_half_width(subtract_means, arrays, alpha))
    row |= {"difference": mean, "difference_low": mean - half, "difference_high": mean + half}
    chance = 100 * float(compute_improvement(*arrays))
    half = 100 * float(compute_half_width(compute_improvement, arrays, alpha))
    low, high = max(chance - half, 0.0), min(chance + half, 100.0)
    return row | {"improvement": chance, "improvement_low": low, "improvement_high": high}


def _to_array(
    scores: dict[int, dict[str, float]], seeds: Sequence[int], tasks: Sequence[str]
) -> Numbers:
    return np.array([[scores[seed][task] for seed in seeds] for task in tasks])
