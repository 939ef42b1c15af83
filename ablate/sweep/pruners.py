"""Builds Optuna's pruners by their names in a study, and checks how well rungs predict the end.

At a rung, a share of the steps in percent, a point is judged on validation clips. The Wilcoxon
pruner judges after each seed instead, by the differences to the best point, seed by seed.
https://github.com/optuna/optuna; the documentation of each pruner cites its paper.
"""

from collections.abc import Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from scipy.stats import spearmanr

from ablate.config.search_space import FinishedPoint

LEAST_POINTS = 3  # fewest points for a rank correlation


def create_pruner(name: str, rungs: Sequence[int]) -> BasePruner:
    """Creates a pruner.

    Args:
        name: One of `PRUNERS`.
        rungs: Where points are judged, in percent of the steps, rising. `asha` and `hyperband`
            need at least one.
    """
    match name:
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=4)
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(rungs[0], reduction_factor=2)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(rungs[0], 100, reduction_factor=2)
        case "wilcoxon":
            return optuna.pruners.WilcoxonPruner()
    return optuna.pruners.NopPruner()


def compute_fidelity(points: Sequence[FinishedPoint]) -> dict[str, tuple[float, int]]:
    """Compares the ranking of points at each rung with their final ranking.

    Pruned points have no final score, so only points that the pruner kept are compared. A rung
    with fewer than three such points, or with equal scores only, is left out.

    Returns:
        Rung -> Spearman's rank correlation and the number of points.
    """
    fidelity = {}
    ended = [(_get_rungs(point), point.values[0]) for point in points if point.values is not None]
    for rung in dict.fromkeys(rung for rungs, _ in ended for rung in rungs):
        pairs = [(rungs[rung], value) for rungs, value in ended if rung in rungs]
        early, late = zip(*pairs, strict=True)
        if len(pairs) >= LEAST_POINTS and len(set(early)) > 1 and len(set(late)) > 1:
            fidelity[rung] = float(spearmanr(early, late).statistic), len(pairs)
    return fidelity


def get_pruner_scores(point: FinishedPoint) -> dict[int, float]:
    """Returns the scores of a point that its pruner saw, by rung or by the index of a seed."""
    scores = {**_get_rungs(point), **point.facts.get("by_seed", {})}
    return {int(step): score for step, score in scores.items()}


def _get_rungs(point: FinishedPoint) -> Mapping[str, float]:
    """Returns the validation scores of a point at its rungs, by percent of the steps."""
    rungs: Mapping[str, float] = point.facts.get("rungs", {})
    return rungs
