"""Compares two sets of results: which variants moved by more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from ablate.report.pages.table import Column, Table, interval_cell, number_cell, p_cell, text_cell
from ablate.report.pages.tables import format_score_name
from ablate.report.results import Results, TrialResult, format_variant
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.statistics import Estimate, correct_by_holm, estimate_mean

SAME_RUNS, ROSE, FELL, WITHIN_NOISE = "the same runs", "rose", "fell", "within noise"


@dataclass(frozen=True)
class _VariantPair:
    """One variant in both results: the trials that have a score, by seed."""

    variant: str
    first: Mapping[int, TrialResult]  # seed -> trial
    second: Mapping[int, TrialResult]  # seed -> trial

    @property
    def is_same(self) -> bool:
        """Whether both sides are the same runs with the same scores."""
        first, second = (
            {seed: (trial.fingerprint, trial.score) for seed, trial in side.items()}
            for side in (self.first, self.second)
        )
        return first == second

    @property
    def is_paired(self) -> bool:
        """Whether both sides have the same seeds, so that they share data order and weights."""
        return bool(self.first) and self.first.keys() == self.second.keys()

    def estimate_difference(self, alpha: float) -> Estimate:
        """Estimates second minus first, in points, with its interval of coverage 1 - `alpha`.

        Paired by seed if the seeds agree, otherwise Welch's test. Without a spread, or with a
        single score on a side, there is no p-value.
        """
        before = [trial.score or 0.0 for trial in self.first.values()]
        if self.is_paired:
            after = [self.second[seed].score or 0.0 for seed in self.first]
            return estimate_mean([b - a for a, b in zip(before, after, strict=True)], alpha=alpha)
        after = [trial.score or 0.0 for trial in self.second.values()]
        n, mean = min(len(before), len(after)), _compute_mean(after) - _compute_mean(before)
        if n < 2 or not (len(set(before)) > 1 or len(set(after)) > 1):
            return Estimate(n=n, mean=mean if n else None)
        test = stats.ttest_ind(after, before, equal_var=False)
        low, high = test.confidence_interval(1 - alpha)
        return Estimate(n=n, mean=mean, low=float(low), high=float(high), p=float(test.pvalue))


def build_comparison_table(first: Results, second: Results) -> Table:
    """Builds the table of how far each variant's score moved between two sets of results.

    Differences are second minus first, in points. P-values are Holm-corrected over the variants
    that have scores on both sides, and compared with the alpha of `first`.

    Raises:
        ValueError: If the two are scored by different probes or poolings.
    """
    _validate_same_score(first, second)
    alpha = first.plan.report.alpha
    pairs = _pair_variants(first, second)
    estimates = [
        Estimate(n=0, mean=None) if pair.is_same else pair.estimate_difference(alpha)
        for pair in pairs
    ]
    tested = [i for i, p in enumerate(pairs) if p.first and p.second and not p.is_same]
    ps = dict(zip(tested, correct_by_holm([estimates[i].p for i in tested]), strict=True))
    rows = [_build_row(pair, estimates[i], ps.get(i), alpha) for i, pair in enumerate(pairs)]
    return Table(
        name="comparison",
        title="What moved",
        caption=f"Score {format_score_name(first)} in percent, mean over seeds; second minus "
        f"first, and its uncorrected {format_coverage(alpha)} interval. Paired by seed if both "
        "have the same seeds, otherwise Welch's test; p-values Holm-corrected over "
        f"{len(tested)} variants.",
        columns=(
            Column(head="variant", format=text_cell("variant"), text=True),
            Column(head="first", format=number_cell("first")),
            Column(head="second", format=number_cell("second")),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head="interval", format=interval_cell("difference")),
            Column(head="p", format=p_cell("p_holm")),
            Column(head="seeds", format=text_cell("seeds"), text=True),
            Column(head="moved", format=text_cell("moved"), text=True),
        ),
        rows=tuple(rows),
    )


def _validate_same_score(first: Results, second: Results) -> None:
    names = format_score_name(first), format_score_name(second)
    if names[0] != names[1]:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` cannot be compared: use the same `score` in both "
            "studies"
        )
    protocols = [r.plan.score_protocol for r in (first, second)]
    if protocols[0] != protocols[1]:
        raise ValueError(
            f"the settings of `{names[0]}` differ between the two studies: {protocols[0]} and "
            f"{protocols[1]}; score one of them again with the settings of the other"
        )


def _pair_variants(first: Results, second: Results) -> list[_VariantPair]:
    """Pairs variants by their levels; the order of the factors does not matter."""
    variants: dict[frozenset[tuple[str, str]], tuple[str, list[dict[int, TrialResult]]]] = {}
    for side, results in enumerate((first, second)):
        for levels, trials in results.variants().items():
            key = frozenset(zip(results.factors, levels, strict=True))
            _, sides = variants.setdefault(key, (format_variant(levels), [{}, {}]))
            sides[side] = {trial.seed: trial for trial in trials if trial.score is not None}
    return [_VariantPair(name, *sides) for name, sides in variants.values()]


def _build_row(
    pair: _VariantPair, estimate: Estimate, p: float | None, alpha: float
) -> dict[str, Any]:
    first, second = (
        _compute_mean([trial.score or 0.0 for trial in side.values()]) if side else None
        for side in (pair.first, pair.second)
    )
    counts = dict.fromkeys((len(pair.first), len(pair.second)))
    return {
        "variant": pair.variant,
        "first": first,
        "second": second,
        "difference": 0.0 if pair.is_same and pair.first else estimate.mean,
        "difference_low": estimate.low,
        "difference_high": estimate.high,
        "p_holm": p,
        "seeds": " and ".join(map(str, counts)) + (", paired" if pair.is_paired else ""),
        "moved": _classify_change(pair, estimate, p, alpha),
    }


def _classify_change(pair: _VariantPair, estimate: Estimate, p: float | None, alpha: float) -> str:
    if not pair.first or not pair.second:
        sides = {(True, False): "only in the first", (False, True): "only in the second"}
        return sides.get((bool(pair.first), bool(pair.second)), "no score")
    if pair.is_same:
        return SAME_RUNS
    if p is None:
        return "too few seeds to tell"
    if p >= alpha:
        return WITHIN_NOISE
    return ROSE if (estimate.mean or 0.0) > 0 else FELL


def _compute_mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
