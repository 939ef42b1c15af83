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

from ablate.report.pages.table import Column, Table, number_of
from ablate.report.pages.tables import factor_columns, named
from ablate.report.results import Results, Trial, label_of

FEWEST_TASKS = 5  # below, no difference of ranks could be told from chance
FEWEST_VARIANTS = 3  # Friedman's test of two is a sign test


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Mean ranks of the variants that have a score on every task; 1 is best, ties share."""

    scores: Mapping[str, Mapping[str, float]]  # variant -> task -> mean over seeds, in percent
    mean_ranks: Mapping[str, float]  # variant -> mean over tasks
    num_tasks: int
    p: float | None  # Friedman's; None below five tasks or three variants
    critical: float | None  # Nemenyi's critical difference of mean ranks, likewise

    def groups(self) -> list[tuple[float, float]]:
        """Returns the ends of the widest runs of mean ranks within the critical difference."""
        ranks = sorted(self.mean_ranks.values())
        found: list[tuple[float, float]] = []
        for first in ranks:
            near = [rank for rank in ranks if first <= rank < first + (self.critical or 0.0)]
            last = max(near, default=first)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def ranking(results: Results) -> Ranking | None:
    """Ranks the variants within each task; None with fewer than two tasks or two variants.

    A variant that lacks a task which another has is left out.
    """
    means = {label_of(levels): _of(results, own) for levels, own in results.variants().items()}
    tasks = sorted({task for of in means.values() for task in of})
    whole = {name: of for name, of in means.items() if len(of) == len(tasks)}
    if len(tasks) < 2 or len(whole) < 2:
        return None
    table = np.array([[of[task] for task in tasks] for of in whole.values()])  # variants, tasks
    ranks = stats.rankdata(-table, axis=0).mean(axis=1)
    enough = len(tasks) >= FEWEST_TASKS and len(whole) >= FEWEST_VARIANTS
    alpha = results.plan["report"]["alpha"]
    return Ranking(
        scores=whole,
        mean_ranks=dict(zip(whole, ranks.tolist(), strict=True)),
        num_tasks=len(tasks),
        p=float(stats.friedmanchisquare(*table).pvalue) if enough and np.ptp(table) else None,
        critical=_critical(len(whole), len(tasks), alpha) if enough else None,
    )


def tasks(results: Results, found: Ranking | None) -> Table:
    """Tabulates each variant's score on each task, and its mean rank over them."""
    shown = sorted({task for of in found.scores.values() for task in of}) if found else []
    rows = []
    for levels in results.variants() if found else ():
        name = label_of(levels)
        if found and name in found.scores:
            scores = {f"task {task}": found.scores[name][task] for task in shown}
            rank = {"rank": found.mean_ranks[name]}
            rows.append({**named(results, levels), **scores, **rank})
    caption = "Mean over seeds, in percent. Mean rank: 1 is best, ties share."
    if found and found.critical is None:
        caption += f" A test of ranks needs {FEWEST_TASKS} tasks and {FEWEST_VARIANTS} variants."
    return Table(
        name="tasks",
        title="Tasks and mean ranks",
        caption=caption,
        columns=(
            *factor_columns(results),
            *(Column(head=task, show=number_of(f"task {task}")) for task in shown),
            Column(head="mean rank", show=number_of("rank", 2)),
        ),
        rows=tuple(rows),
    )


def _of(results: Results, trials: list[Trial]) -> dict[str, float]:
    """Returns a variant's mean over seeds on each task that all its scored trials have."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.score is not None:
            for score in trial.run.scores:
                if (score.probe, score.pooling) == trial.asked and score.test is not None:
                    found.setdefault(score.task, []).append(score.test)
    return {task: fmean(values) for task, values in found.items()}


def _critical(variants: int, tasks: int, alpha: float) -> float:
    span = stats.studentized_range.ppf(1 - alpha, variants, np.inf)
    return float(span / np.sqrt(2) * np.sqrt(variants * (variants + 1) / (6 * tasks)))
