"""Builds the table of how much of the spread over seeds comes from each purpose."""

from collections.abc import Iterator, Sequence

import numpy as np

from ablate.core.seeds import DESCRIPTIONS, SETTINGS, get_seeds
from ablate.report.pages.table import (
    DASH,
    Column,
    Row,
    Table,
    format_number,
    format_share,
    number_cell,
    share_cell,
    text_cell,
)
from ablate.report.results import Results, TrialResult, format_variant, get_levels
from ablate.report.stats.seed_components import REST, estimate_components
from ablate.report.stats.variance import compute_repeat_variance

NAMES = DESCRIPTIONS | {REST: "two or more of them together"}


def build_seed_table(results: Results) -> Table:
    """Builds the table of a study whose seeds are crossed: one row per variant and purpose."""
    by_variant: dict[tuple[str, ...], list[TrialResult]] = {}
    for trial in (*results.trials, *results.crossing_trials):
        by_variant.setdefault(get_levels(trial, results.factors), []).append(trial)
    return Table(
        name="seeds",
        title="Where the spread over seeds comes from",
        caption="Standard deviation in points of the score over new seeds of one purpose, and its "
        "share of the variance if all those listed are new; 95 % intervals (generalised confidence "
        "intervals of a random-effects analysis of variance of all combinations of the seeds). Two "
        "or more of them together: what no purpose explains by itself, including the noise of the "
        "probe, which is also listed if the probe has several seeds. Trials that share a seed are "
        "not independent: verdicts and other tables use only as many as share none.",
        columns=(
            Column(head="variant", format=text_cell("variant"), text=True),
            Column(head="source", format=text_cell("source"), text=True),
            Column(head="seeds", format=text_cell("seeds"), text=True),
            Column(head="standard deviation", format=number_cell("sd", 2)),
            Column(head="95 % interval", format=_format_interval),
            Column(head="of the variance", format=share_cell("share")),
            Column(head="95 % interval of it", format=_format_share_interval),
        ),
        rows=tuple(
            row
            for levels, trials in by_variant.items()
            for row in _list_rows(format_variant(levels), trials, _get_varied(results))
        ),
    )


def _get_varied(results: Results) -> Sequence[str]:
    separate = results.plan.separate_seeds
    return () if separate is None else separate.varied


def _list_rows(variant: str, trials: Sequence[TrialResult], varied: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a variant; one that says what is missing if trials have no score."""
    keys = [tuple(_get_seed(trial, purpose) for purpose in varied) for trial in trials]
    seeds = [sorted({key[axis] for key in keys}) for axis in range(len(varied))]
    scored = sum(trial.score is not None for trial in trials)
    scores = np.zeros([len(values) for values in seeds])
    if scored < scores.size:  # a plan may lack combinations, too
        yield _build_row(variant, f"not known: {scored} of {scores.size} trials are scored", "")
        return
    for key, trial in zip(keys, trials, strict=True):
        scores[tuple(s.index(k) for s, k in zip(seeds, key, strict=True))] = trial.score or 0.0
    counts = {name: str(len(values)) for name, values in zip(varied, seeds, strict=True)}
    for name, component in estimate_components(scores, varied).items():
        yield {
            **_build_row(variant, NAMES[name], counts.get(name, f"{len(trials)} trials")),
            **vars(component),
        }
    if (probe := compute_repeat_variance(trials, "seeds")) is not None:
        of_probe = _build_row(variant, "noise of the probe, as part of the last", "of the probe")
        yield {**of_probe, "sd": probe**0.5}


def _get_seed(trial: TrialResult, purpose: str) -> int:
    seeds = get_seeds(trial.plan.settings)
    return seeds.get(SETTINGS[purpose], seeds["seed"])


def _build_row(variant: str, source: str, seeds: str) -> dict[str, object]:
    names = ("sd", "sd_low", "sd_high", "share", "share_low", "share_high")
    return {"variant": variant, "source": source, "seeds": seeds, **dict.fromkeys(names)}


def _format_interval(row: Row) -> str:
    low, high = (format_number(row[name], 2) for name in ("sd_low", "sd_high"))
    return DASH if row["sd_low"] is None else f"[{low}, {high}]"


def _format_share_interval(row: Row) -> str:
    low, high = (format_share(row[name]) for name in ("share_low", "share_high"))
    return DASH if row["share_low"] is None else f"[{low}, {high}]"
