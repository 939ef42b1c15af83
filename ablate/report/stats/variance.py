"""Where the spread of a score comes from: the factors, the seeds, the probe, the folds."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, variance
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

from ablate.report.pages.table import Column, Table, number_cell, share_cell, text_cell
from ablate.report.results import Results, TrialResult
from ablate.report.stats.contrasts import changes_random_init

MAX_DESIGN_COLUMNS = 300  # of a design: interactions of more would take minutes and say little
SEED, REST = "seed", "everything else"


def build_variance_share_table(results: Results) -> Table:
    """Tabulates which share of the variance between trials each factor and the seed explain.

    Sums of squares of type II over the total: each factor after all others, interactions of two
    factors where every combination has a score. Without p-values, since the combinations of one
    seed are not independent; the contrasts have those.
    """
    twins = any(changes_random_init(results, factor) for factor in results.factors)
    measures = ["score", "gain"] if twins else ["score"]
    found = {measure: _compute_shares(results, measure) for measure in measures}
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
            Column(head="source", format=text_cell("source"), text=True),
            *(Column(head=f"of the {measure}", format=share_cell(measure)) for measure in measures),
        ),
        rows=tuple(rows),
    )


def build_spread_table(results: Results) -> Table:
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
        _build_component(
            "pre-training seeds", _compute_pooled_variance(variants), f"{several} variants"
        ),
        _build_component(
            "probe seeds", _compute_repeat_variance(results, runs, "seeds"), f"{len(runs)} runs"
        ),
        _build_component(
            "folds", _compute_repeat_variance(results, runs, "folds"), f"{len(runs)} runs"
        ),
    )
    return Table(
        name="spread",
        title="How far a score can be trusted",
        caption="Standard deviation in points of one run's score. Pre-training seeds: between "
        "the runs of a variant, pooled over variants; it includes the probe's own. Probe seeds "
        "and folds: the standard error that they leave in a run's mean over them, averaged over "
        "runs. Folds share clips, so theirs is a lower bound.",
        columns=(
            Column(head="source", format=text_cell("source"), text=True),
            Column(head="standard deviation", format=number_cell("sd", 2)),
            Column(head="estimated from", format=text_cell("of"), text=True),
        ),
        rows=tuple(row for row in rows if row["sd"] is not None),
    )


def _compute_shares(results: Results, measure: str) -> dict[str, float]:
    """Fits factors, those of their interactions that can be told apart, and the seed."""
    factors = [name for name in results.factors if len(_get_scored_levels(results, name)) > 1]
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
    for terms in ([*names, *_list_interactions(frame, names)], [*names]):
        if (fit := _fit_model(frame, terms)) is not None:
            squares = sm.stats.anova_lm(fit, typ=2)["sum_sq"]
            return {_name_source(term, names): float(of) / total for term, of in squares.items()}
    return {}


def _get_scored_levels(results: Results, factor: str) -> set[str]:
    return {trial.levels.get(factor, "-") for trial in results.trials if trial.score is not None}


def _list_interactions(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Returns the interactions of two factors all of whose combinations have a score."""
    crossed, columns = [], 1 + sum(frame[name].nunique() for name in [*names, SEED])
    for one, other in combinations(names, 2):
        cells = frame[one].nunique() * frame[other].nunique()
        if frame.groupby([one, other]).ngroups == cells and columns + cells <= MAX_DESIGN_COLUMNS:
            crossed.append(f"{one}:{other}")
            columns += cells
    return crossed


def _fit_model(frame: pd.DataFrame, terms: Sequence[str]) -> Any:
    """Fits a linear model; None where the trials cannot tell its terms apart, or leave no rest."""
    seeds = [SEED] if frame[SEED].nunique() > 1 else []
    model = smf.ols(f"value ~ {' + '.join([*terms, *seeds])}", frame)
    whole = np.linalg.matrix_rank(model.exog) == model.exog.shape[1] < model.exog.shape[0]
    return model.fit() if whole else None


def _name_source(term: str, names: Mapping[str, str]) -> str:
    if term in ("Residual", SEED):
        return REST if term == "Residual" else SEED
    return " x ".join(names[part] for part in term.split(":"))


def _compute_pooled_variance(groups: Iterable[Sequence[float]]) -> float | None:
    """Returns the variance within groups, pooled; None where no group has two numbers."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * variance(group) for group in several)
    return squares / freedom if freedom else None


def _compute_repeat_variance(
    results: Results, runs: Sequence[TrialResult], repeats: str
) -> float | None:
    """Returns the mean over runs of the variance that repeats of the probe leave in the score."""
    left = []
    for trial in runs:
        asked = trial.probe_key
        scores = [score for score in trial.run.scores if (score.probe, score.pooling) == asked]
        repeated = [of for score in scores if len(of := getattr(score, repeats)) > 1]
        if repeated:
            errors = [variance(of) / len(of) for of in repeated]
            left.append(sum(errors) / len(scores) ** 2)  # the score is the mean over tasks
    return fmean(left) if left else None


def _build_component(source: str, found: float | None, of: str) -> dict[str, Any]:
    return {"source": source, "sd": None if found is None else found**0.5, "of": of}
