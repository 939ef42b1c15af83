"""Ranks variants: mean ranks over tasks with Friedman's test, and the leaders by validation score.

Demsar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7: Friedman's
test, then Nemenyi's critical difference. The unit of replication of this test is the task, not the
seed: each task counts once, by its mean over seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from ablate.report.mean_scores import compute_mean_score
from ablate.report.pages.table import Column, Table, number_cell
from ablate.report.pages.tables import build_factor_columns, build_variant_cells
from ablate.report.results import Results, TrialResult, format_variant

MIN_TASKS = 5  # with fewer, the chi-squared distribution of Friedman's test is a poor approximation
MIN_VARIANTS = 3  # with two, Friedman's test is a sign test


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Mean ranks of the variants that have a score on every task; 1 is best, ties share a rank."""

    scores: Mapping[str, Mapping[str, float]]  # variant -> task -> mean over seeds, percent
    mean_ranks: Mapping[str, float]  # variant -> mean rank over tasks
    num_tasks: int
    p: float | None  # Friedman's test; None with too few tasks or variants
    critical_difference: float | None  # Nemenyi's test; None with too few tasks or variants

    def find_groups(self) -> list[tuple[float, float]]:
        """Finds the largest groups of mean ranks within the critical difference, by their ends."""
        ranks = sorted(self.mean_ranks.values())
        width = self.critical_difference or 0.0
        groups: list[tuple[float, float]] = []
        for first in ranks:
            near = [rank for rank in ranks if first <= rank < first + width]
            last = max(near, default=first)
            if last > first and (not groups or last > groups[-1][1]):
                groups.append((first, last))
        return groups


def compute_ranking(results: Results) -> Ranking | None:
    """Ranks the variants within each task; None with fewer than two tasks or two variants.

    A variant without a score on one of the tasks is left out.
    """
    means = {
        format_variant(levels): _compute_task_means(trials)
        for levels, trials in results.variants().items()
    }
    tasks = sorted({task for scores in means.values() for task in scores})
    complete = {name: scores for name, scores in means.items() if len(scores) == len(tasks)}
    if len(tasks) < 2 or len(complete) < 2:
        return None
    table = np.array([[scores[task] for task in tasks] for scores in complete.values()])
    ranks = stats.rankdata(-table, axis=0).mean(axis=1)  # (variants,)
    enough = len(tasks) >= MIN_TASKS and len(complete) >= MIN_VARIANTS
    alpha = results.plan.report.alpha
    return Ranking(
        scores=complete,
        mean_ranks=dict(zip(complete, ranks.tolist(), strict=True)),
        num_tasks=len(tasks),
        p=float(stats.friedmanchisquare(*table).pvalue) if enough and np.ptp(table) else None,
        critical_difference=_compute_critical_difference(len(complete), len(tasks), alpha)
        if enough
        else None,
    )


def build_task_table(results: Results, ranking: Ranking | None) -> Table:
    """Builds the table of each variant's score on each task and its mean rank over tasks."""
    tasks = sorted({task for s in ranking.scores.values() for task in s}) if ranking else []
    rows = []
    for levels in results.variants() if ranking else ():
        name = format_variant(levels)
        if ranking and name in ranking.scores:
            scores = {f"task {task}": ranking.scores[name][task] for task in tasks}
            rank = {"rank": ranking.mean_ranks[name]}
            rows.append({**build_variant_cells(results, levels), **scores, **rank})
    caption = "Mean over seeds, in percent. Mean rank: 1 is best, ties share a rank."
    if ranking and ranking.critical_difference is None:
        caption += (
            f" Ranks are tested from {MIN_TASKS} tasks and {MIN_VARIANTS} variants on; with fewer, "
            "the chi-squared approximation of Friedman's test is poor."
        )
    return Table(
        name="tasks",
        title="Tasks and mean ranks",
        caption=caption,
        columns=(
            *build_factor_columns(results),
            *(Column(head=task, format=number_cell(f"task {task}")) for task in tasks),
            Column(head="mean rank", format=number_cell("rank", 2)),
        ),
        rows=tuple(rows),
    )


def select_leading_variants(results: Results, top: int) -> list[tuple[str, ...]]:
    """Selects the variants with the best mean validation score, to be confirmed on fresh seeds.

    Selection uses no test data: the best of twelve equal variants, each the mean of three seeds,
    looks better than it is by 0.94 standard deviations over seeds.

    Args:
        results: Scores of the study.
        top: Number of variants to select.

    Returns:
        The levels of the selected variants, best first. A variant of which a trial has no score is
        not selected, so there may be fewer than `top`.

    Raises:
        ValueError: If `top` is below 1, or a scored trial has no validation score.
    """
    if top < 1:
        raise ValueError(f"`confirm.top` must be at least 1 variant; got {top}")
    means = {
        levels: fmean(_compute_validation_score(results, trial) for trial in trials)
        for levels, trials in results.variants().items()
        if all(trial.score is not None for trial in trials)
    }
    return sorted(means, key=lambda levels: -means[levels])[:top]


def _compute_validation_score(results: Results, trial: TrialResult) -> float:
    score, missing = compute_mean_score(
        results.plan, trial.plan, trial.run, trial.probe_key, split="valid"
    )
    if score is None:
        variant = format_variant(tuple(trial.levels.values()))
        raise ValueError(
            f"`confirm` selects variants by validation score, but {variant} has none on "
            f"{', '.join(missing)}; give the task validation clips, or remove `confirm`"
        )
    return score


def _compute_task_means(trials: list[TrialResult]) -> dict[str, float]:
    """Computes a variant's mean over seeds on each task."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        if trial.score is not None:
            for score in trial.run.scores:
                if (score.probe, score.pooling) == trial.probe_key and score.test is not None:
                    values.setdefault(score.task, []).append(score.test)
    return {task: fmean(scores) for task, scores in values.items()}


def _compute_critical_difference(num_variants: int, num_tasks: int, alpha: float) -> float:
    span = stats.studentized_range.ppf(1 - alpha, num_variants, np.inf)
    return float(span / np.sqrt(2) * np.sqrt(num_variants * (num_variants + 1) / (6 * num_tasks)))
