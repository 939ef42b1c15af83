"""Variants over several tasks: mean ranks, and from five tasks on whether they mean anything.

Demsar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7: Friedman's
test, then Nemenyi's critical difference. The tasks are the repeats here, not the seeds: a task
counts once, by its mean over seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from ablate.report.pages.table import Column, Table, number_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells
from ablate.report.results import Results, TrialResult, format_variant

MIN_TASKS = 5  # below, no difference of ranks could be told from chance
MIN_VARIANTS = 3  # Friedman's test of two is a sign test


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Mean ranks of the variants that have a score on every task; 1 is best, ties share."""

    scores: Mapping[str, Mapping[str, float]]  # variant -> task -> mean over seeds, in percent
    mean_ranks: Mapping[str, float]  # variant -> mean over tasks
    num_tasks: int
    p: float | None  # Friedman's; None below five tasks or three variants
    critical_difference: float | None  # Nemenyi's critical difference of mean ranks, likewise

    def find_groups(self) -> list[tuple[float, float]]:
        """Returns the ends of the widest runs of mean ranks within the critical difference."""
        ranks = sorted(self.mean_ranks.values())
        found: list[tuple[float, float]] = []
        for first in ranks:
            near = [
                rank for rank in ranks if first <= rank < first + (self.critical_difference or 0.0)
            ]
            last = max(near, default=first)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def compute_ranking(results: Results) -> Ranking | None:
    """Ranks the variants within each task; None with fewer than two tasks or two variants.

    A variant that lacks a task which another has is left out.
    """
    means = {
        format_variant(levels): _compute_task_means(results, own)
        for levels, own in results.variants().items()
    }
    tasks = sorted({task for of in means.values() for task in of})
    whole = {name: of for name, of in means.items() if len(of) == len(tasks)}
    if len(tasks) < 2 or len(whole) < 2:
        return None
    table = np.array([[of[task] for task in tasks] for of in whole.values()])  # variants, tasks
    ranks = stats.rankdata(-table, axis=0).mean(axis=1)
    enough = len(tasks) >= MIN_TASKS and len(whole) >= MIN_VARIANTS
    alpha = results.plan["report"]["alpha"]
    return Ranking(
        scores=whole,
        mean_ranks=dict(zip(whole, ranks.tolist(), strict=True)),
        num_tasks=len(tasks),
        p=float(stats.friedmanchisquare(*table).pvalue) if enough and np.ptp(table) else None,
        critical_difference=_compute_critical_difference(len(whole), len(tasks), alpha)
        if enough
        else None,
    )


def build_task_table(results: Results, found: Ranking | None) -> Table:
    """Tabulates each variant's score on each task, and its mean rank over them."""
    shown = sorted({task for of in found.scores.values() for task in of}) if found else []
    rows = []
    for levels in results.variants() if found else ():
        name = format_variant(levels)
        if found and name in found.scores:
            scores = {f"task {task}": found.scores[name][task] for task in shown}
            rank = {"rank": found.mean_ranks[name]}
            rows.append({**build_variant_cells(results, levels), **scores, **rank})
    caption = "Mean over seeds, in percent. Mean rank: 1 is best, ties share."
    if found and found.critical_difference is None:
        caption += f" A test of ranks needs {MIN_TASKS} tasks and {MIN_VARIANTS} variants."
    return Table(
        name="tasks",
        title="Tasks and mean ranks",
        caption=caption,
        columns=(
            *build_factor_columns(results),
            *(Column(head=task, format=number_cell(f"task {task}")) for task in shown),
            Column(head="mean rank", format=number_cell("rank", 2)),
        ),
        rows=tuple(rows),
    )


def _compute_task_means(results: Results, trials: list[TrialResult]) -> dict[str, float]:
    """Returns a variant's mean over seeds on each task that all its scored trials have."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.score is not None:
            for score in trial.run.scores:
                if (score.probe, score.pooling) == trial.probe_key and score.test is not None:
                    found.setdefault(score.task, []).append(score.test)
    return {task: fmean(values) for task, values in found.items()}


def _compute_critical_difference(variants: int, tasks: int, alpha: float) -> float:
    span = stats.studentized_range.ppf(1 - alpha, variants, np.inf)
    return float(span / np.sqrt(2) * np.sqrt(variants * (variants + 1) / (6 * tasks)))
