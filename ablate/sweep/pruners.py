"""When a point is given up before its end: Optuna's pruners by the names that a study gives them.

A rung is a share of the steps, in percent: points are judged there on validation clips. The
Wilcoxon pruner judges after each seed instead, by the differences to the best point, seed by seed.
https://github.com/optuna/optuna; each pruner's documentation names its paper.
"""

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from scipy.stats import spearmanr

from ablate.config.search_space import Tried

LEAST_POINTS = 3  # that a rank correlation needs


def make_pruner(name: str, rungs: Sequence[int]) -> BasePruner:
    """Makes a pruner of points that are judged at `rungs`, in percent of the steps, rising.

    `name` is one of `PRUNERS`; `asha` and `hyperband` need a rung.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
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


def fidelity(tried: Sequence[Tried]) -> dict[str, tuple[float, int]]:
    """Compares the order of points at each rung with that at their ends.

    Returns Spearman's rank correlation and the number of points, by rung, over the points that
    were trained to their ends: what is pruned has no end to compare with, so a correlation is
    of the points that the pruner let live. A rung with fewer than three such points, or with
    equal scores only, is left out.
    """
    found = {}
    ended = [(rungs_of(point), point.values[0]) for point in tried if point.values is not None]
    for rung in dict.fromkeys(rung for rungs, _ in ended for rung in rungs):
        pairs = [(rungs[rung], value) for rungs, value in ended if rung in rungs]
        early, late = zip(*pairs, strict=True)
        if len(pairs) >= LEAST_POINTS and len(set(early)) > 1 and len(set(late)) > 1:
            found[rung] = float(spearmanr(early, late).statistic), len(pairs)
    return found


def rungs_of(point: Tried) -> Mapping[str, float]:
    """Returns the validation scores that a point had at its rungs, by percent of the steps."""
    rungs: Mapping[str, float] = point.facts.get("rungs", {})
    return rungs


def shown_of(point: Tried) -> dict[int, float]:
    """Returns all that its pruner was shown of a point: scores by rung, or by a seed's place."""
    shown = {**rungs_of(point), **point.facts.get("by_seed", {})}
    return {int(at): score for at, score in shown.items()}
