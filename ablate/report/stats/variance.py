"""Where the spread of a score comes from: the factors, the seeds, the probe, the folds."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, variance
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

from ablate.report.pages.table import Column, Table, number_of, plain, share_of
from ablate.report.results import Results, Trial
from ablate.report.stats.contrasts import changes_twin

MOST_COLUMNS = 300  # of a design: interactions of more would take minutes and say little
SEED, REST = "seed", "everything else"


def shares(results: Results) -> Table:
    """Tabulates which share of the variance between trials each factor and the seed explain.

    Sums of squares of type II over the total: each factor after all others, interactions of two
    factors where every combination has a score. Without p-values, since the combinations of one
    seed are not independent; the contrasts have those.
    """
    twins = any(changes_twin(results, factor) for factor in results.factors)
    measures = ["score", "gain"] if twins else ["score"]
    found = {measure: _shares(results, measure) for measure in measures}
    sources = list(dict.fromkeys(source for of in found.values() for source in of))
    rows = [
        {"source": source, **{measure: of.get(source) for measure, of in found.items()}}
        for source in sources
    ]
    return Table(
        name="shares",
        title="What the score depends on",
        caption="Shares of the variance between trials: sums of squares of type II over the "
        "total. A x B: the interaction of A and B, where every combination has a score; everything "
        "else: the rest, with all other interactions. Where combinations are missing, shares "
        "overlap and do not add up to 100 %. Gain: score minus random init.",
        columns=(
            Column(head="source", show=plain("source"), text=True),
            *(Column(head=f"of the {measure}", show=share_of(measure)) for measure in measures),
        ),
        rows=tuple(rows),
    )


def components(results: Results) -> Table:
    """Tabulates the spread that seeds, the probe's own chance and the folds leave in a score.

    Standard deviations in points; a source without two numbers to compare has no row.
    """
    runs = [trial for trial in results.trials if trial.score is not None]
    variants = [
        [trial.score for trial in trials if trial.score is not None]
        for trials in results.variants().values()
    ]
    several = sum(len(scores) > 1 for scores in variants)
    rows = (
        _component("pre-training seeds", _pooled(variants), f"{several} variants"),
        _component("probe seeds", _within(results, runs, "seeds"), f"{len(runs)} runs"),
        _component("folds", _within(results, runs, "folds"), f"{len(runs)} runs"),
    )
    return Table(
        name="spread",
        title="How far a score can be trusted",
        caption="Standard deviation in points of one run's score. Pre-training seeds: between "
        "the runs of a variant, pooled over variants; it includes the probe's own. Probe seeds "
        "and folds: the standard error that they leave in a run's mean over them, averaged over "
        "runs. Folds share clips, so theirs is a lower bound.",
        columns=(
            Column(head="source", show=plain("source"), text=True),
            Column(head="standard deviation", show=number_of("sd", 2)),
            Column(head="estimated from", show=plain("of"), text=True),
        ),
        rows=tuple(row for row in rows if row["sd"] is not None),
    )


def _shares(results: Results, measure: str) -> dict[str, float]:
    """Fits factors, those of their interactions that can be told apart, and the seed."""
    factors = [name for name in results.factors if len(_levels(results, name)) > 1]
    rows = [
        [*(trial.levels.get(name, "-") for name in factors), str(trial.seed), value]
        for trial in results.trials
        if (value := trial.score if measure == "score" else trial.gain) is not None
    ]
    names = {f"f{number}": name for number, name in enumerate(factors)}
    frame = pd.DataFrame(rows, columns=[*names, SEED, "value"])
    total = float(((frame["value"] - frame["value"].mean()) ** 2).sum())
    if not names or not total:
        return {}
    for terms in ([*names, *_crossed(frame, names)], [*names]):
        if (fit := _fitted(frame, terms)) is not None:
            squares = sm.stats.anova_lm(fit, typ=2)["sum_sq"]
            return {_source(term, names): float(of) / total for term, of in squares.items()}
    return {}


def _levels(results: Results, factor: str) -> set[str]:
    return {trial.levels.get(factor, "-") for trial in results.trials if trial.score is not None}


def _crossed(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Returns the interactions of two factors all of whose combinations have a score."""
    crossed, columns = [], 1 + sum(frame[name].nunique() for name in [*names, SEED])
    for one, other in combinations(names, 2):
        cells = frame[one].nunique() * frame[other].nunique()
        if frame.groupby([one, other]).ngroups == cells and columns + cells <= MOST_COLUMNS:
            crossed.append(f"{one}:{other}")
            columns += cells
    return crossed


def _fitted(frame: pd.DataFrame, terms: Sequence[str]) -> Any:
    """Fits a linear model; None where the trials cannot tell its terms apart, or leave no rest."""
    seeds = [SEED] if frame[SEED].nunique() > 1 else []
    model = smf.ols(f"value ~ {' + '.join([*terms, *seeds])}", frame)
    whole = np.linalg.matrix_rank(model.exog) == model.exog.shape[1] < model.exog.shape[0]
    return model.fit() if whole else None


def _source(term: str, names: Mapping[str, str]) -> str:
    if term in ("Residual", SEED):
        return REST if term == "Residual" else SEED
    return " x ".join(names[part] for part in term.split(":"))


def _pooled(groups: Iterable[Sequence[float]]) -> float | None:
    """Returns the variance within groups, pooled; None where no group has two numbers."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * variance(group) for group in several)
    return squares / freedom if freedom else None


def _within(results: Results, runs: Sequence[Trial], repeats: str) -> float | None:
    """Returns the mean over runs of the variance that repeats of the probe leave in the score."""
    left = []
    for trial in runs:
        asked = trial.asked
        scores = [score for score in trial.run.scores if (score.probe, score.pooling) == asked]
        repeated = [of for score in scores if len(of := getattr(score, repeats)) > 1]
        if repeated:
            errors = [variance(of) / len(of) for of in repeated]
            left.append(sum(errors) / len(scores) ** 2)  # the score is the mean over tasks
    return fmean(left) if left else None


def _component(source: str, found: float | None, of: str) -> dict[str, Any]:
    return {"source": source, "sd": None if found is None else found**0.5, "of": of}
