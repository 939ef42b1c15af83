"""Builds the tables of variance: shares by factor and seed, and spread by source."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, variance
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.anova import anova_lm

from ablate.core.records.plan import StudyPlan
from ablate.report.mean_scores import compute_mean_score
from ablate.report.pages.table import Column, Table, number_cell, share_cell, text_cell
from ablate.report.results import Results, TrialResult
from ablate.report.stats.cells import changes_random_init
from ablate.report.stats.clip_noise import compute_clip_variance

MAX_DESIGN_COLUMNS = 300  # columns of a design matrix: fits of larger ones take minutes
SEED, REST = "seed", "everything else"


def build_variance_share_table(results: Results) -> Table:
    """Builds the table of the share of variance between trials that factors and seed explain.

    Sums of squares of type II over the total: each factor after all others, and interactions of
    two factors if every combination has a score. There are no p-values here, since the
    combinations of one seed are not independent; see the contrasts.
    """
    has_gains = any(changes_random_init(results, factor) for factor in results.factors)
    measures = ["score", "gain"] if has_gains else ["score"]
    shares = {measure: _compute_shares(results, measure) for measure in measures}
    sources = list(dict.fromkeys(source for values in shares.values() for source in values))
    rows = [
        {"source": source, **{m: values.get(source) for m, values in shares.items()}}
        for source in sources
    ]
    return Table(
        name="shares",
        title="What the score depends on",
        caption="Shares of the variance between trials: sums of squares of type II over the "
        "total. A x B: the interaction of A and B, shown if every combination has a score. "
        "Everything else: the residual, with all other interactions. If combinations are missing, "
        "shares overlap and do not add up to 100 %. Gain: score minus random init.",
        columns=(
            Column(head="source", format=text_cell("source"), text=True),
            *(Column(head=f"of the {measure}", format=share_cell(measure)) for measure in measures),
        ),
        rows=tuple(rows),
    )


def build_spread_table(results: Results) -> Table:
    """Builds the table of the standard deviation of a score by source: seeds, probe and folds.

    In points; a source without two numbers to compare has no row.
    """
    runs = [trial for trial in results.trials if trial.score is not None]
    variants = [
        [trial.score for trial in trials if trial.score is not None]
        for trials in results.variants().values()
    ]
    untrained = [_list_untrained_scores(results.plan, t) for t in results.variants().values()]
    several, several_untrained = (
        f"{sum(len(scores) > 1 for scores in groups)} variants" for groups in (variants, untrained)
    )
    rows = (
        _build_component("pre-training seeds", _compute_pooled_variance(variants), several),
        _build_component("random inits", _compute_pooled_variance(untrained), several_untrained),
        _build_component(
            "probe seeds", compute_repeat_variance(runs, "seeds"), f"{len(runs)} runs"
        ),
        _build_component("folds", compute_repeat_variance(runs, "folds"), f"{len(runs)} runs"),
        _build_component("test clips", _compute_clip_variance(runs), f"{len(runs)} runs"),
    )
    return Table(
        name="spread",
        title="Spread of a score",
        caption="Standard deviation in points of one run's score. Pre-training seeds: between "
        "the runs of a variant, pooled over variants; includes that of the probe. Random inits: "
        "between its untrained encoders. Probe seeds and folds: the standard error of a run's "
        "mean over them, averaged over runs. Folds share training clips, so their standard error "
        "is a lower bound. Test clips: over draws of clips, for the same encoder; most of it is "
        "common to all variants.",
        columns=(
            Column(head="source", format=text_cell("source"), text=True),
            Column(head="standard deviation", format=number_cell("sd", 2)),
            Column(head="estimated from", format=text_cell("basis"), text=True),
        ),
        rows=tuple(row for row in rows if row["sd"] is not None),
    )


def _compute_shares(results: Results, measure: str) -> dict[str, float]:
    """Computes the shares of variance of factors, identifiable interactions and the seed."""
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
            squares = anova_lm(fit, typ=2)["sum_sq"]
            return {
                _name_source(term, names): float(square) / total for term, square in squares.items()
            }
    return {}


def _get_scored_levels(results: Results, factor: str) -> set[str]:
    return {trial.levels.get(factor, "-") for trial in results.trials if trial.score is not None}


def _list_interactions(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Lists the interactions of two factors of which every combination has a score."""
    interactions, columns = [], 1 + sum(frame[name].nunique() for name in [*names, SEED])
    for one, other in combinations(names, 2):
        cells = frame[one].nunique() * frame[other].nunique()
        if frame.groupby([one, other]).ngroups == cells and columns + cells <= MAX_DESIGN_COLUMNS:
            interactions.append(f"{one}:{other}")
            columns += cells
    return interactions


def _fit_model(frame: pd.DataFrame, terms: Sequence[str]) -> Any:
    """Fits a linear model; None if its terms are not identifiable or no residual is left."""
    seeds = [SEED] if frame[SEED].nunique() > 1 else []
    model = OLS.from_formula(f"value ~ {' + '.join([*terms, *seeds])}", frame)
    is_identifiable = np.linalg.matrix_rank(model.exog) == model.exog.shape[1] < model.exog.shape[0]
    return model.fit() if is_identifiable else None


def _name_source(term: str, names: Mapping[str, str]) -> str:
    if term in ("Residual", SEED):
        return REST if term == "Residual" else SEED
    return " x ".join(names[part] for part in term.split(":"))


def _list_untrained_scores(plan: StudyPlan, trials: Sequence[TrialResult]) -> list[float]:
    """Lists the scores of the untrained encoders of a variant."""
    scores = (
        compute_mean_score(plan, trial.plan, run, trial.probe_key)[0]
        for trial, run in {
            id(run): (trial, run) for trial in trials for run in trial.random_inits
        }.values()  # seeds may share a run
    )
    return [score for score in scores if score is not None]


def _compute_pooled_variance(groups: Iterable[Sequence[float]]) -> float | None:
    """Computes the pooled variance within groups; None if no group has two numbers."""
    several = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in several)
    squares = sum((len(group) - 1) * variance(group) for group in several)
    return squares / freedom if freedom else None


def compute_repeat_variance(runs: Sequence[TrialResult], repeats: str) -> float | None:
    """Computes the squared standard error of a run's score from repeats (seeds or folds).

    Averaged over runs; None if no run has repeats.
    """
    squared_errors = []
    for trial in runs:
        key = trial.probe_key
        scores = [score for score in trial.run.scores if (score.probe, score.pooling) == key]
        repeated = [tests for score in scores if len(tests := getattr(score, repeats)) > 1]
        if repeated:
            errors = [variance(tests) / len(tests) for tests in repeated]
            squared_errors.append(sum(errors) / len(scores) ** 2)  # the score averages over tasks
    return fmean(squared_errors) if squared_errors else None


def _compute_clip_variance(runs: Sequence[TrialResult]) -> float | None:
    """Computes the variance of a run's score over draws of test clips, averaged over runs.

    None if the predictions of a run were not kept.
    """
    loaded = [trial.run.load_influences(*trial.probe_key) for trial in runs]
    if not loaded or not all(loaded):
        return None
    return fmean(sum(map(compute_clip_variance, influences.values())) for influences in loaded)


def _build_component(source: str, squared: float | None, basis: str) -> dict[str, Any]:
    return {"source": source, "sd": None if squared is None else squared**0.5, "basis": basis}
