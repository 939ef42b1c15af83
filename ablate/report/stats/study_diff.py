"""What changed between two sets of results: which variants moved by more than noise."""

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
    one: Mapping[int, TrialResult]  # seed -> trial
    other: Mapping[int, TrialResult]

    @property
    def same(self) -> bool:
        """Says whether both are the very same runs with the same scores."""
        told = [
            {seed: (trial.fingerprint, trial.score) for seed, trial in side.items()}
            for side in (self.one, self.other)
        ]
        return told[0] == told[1]

    @property
    def paired(self) -> bool:
        """Says whether both have the same seeds, so that they share data order and weights."""
        return bool(self.one) and self.one.keys() == self.other.keys()

    def difference(self, alpha: float) -> Estimate:
        """Estimates other less one, in points, with its interval of 1 - `alpha`.

        Paired by seed where the seeds agree, else after Welch; without a spread, or with one
        score on a side, there is no p.
        """
        before = [trial.score or 0.0 for trial in self.one.values()]
        if self.paired:
            after = [self.other[seed].score or 0.0 for seed in self.one]
            return estimate_mean([b - a for a, b in zip(before, after, strict=True)], alpha=alpha)
        after = [trial.score or 0.0 for trial in self.other.values()]
        n, mean = min(len(before), len(after)), _compute_mean(after) - _compute_mean(before)
        if n < 2 or not (len(set(before)) > 1 or len(set(after)) > 1):
            return Estimate(n=n, mean=mean if n else None)
        test = stats.ttest_ind(after, before, equal_var=False)
        low, high = test.confidence_interval(1 - alpha)
        return Estimate(n=n, mean=mean, low=float(low), high=float(high), p=float(test.pvalue))


def build_comparison_table(one: Results, other: Results) -> Table:
    """Tabulates every variant of two results: how far its score moved, and whether beyond noise.

    Differences are in points. P-values are corrected by Holm over the variants that have scores
    on both sides, and held against the alpha of `one`. Raises `ValueError` where the two are
    scored by different probes or poolings.
    """
    _validate_same_score(one, other)
    alpha = one.plan["report"]["alpha"]
    cells = _pair_variants(one, other)
    estimates = [Estimate(n=0, mean=None) if c.same else c.difference(alpha) for c in cells]
    tested = [i for i, cell in enumerate(cells) if cell.one and cell.other and not cell.same]
    ps = dict(zip(tested, correct_by_holm([estimates[i].p for i in tested]), strict=True))
    rows = [_build_row(c, estimates[i], ps.get(i), alpha) for i, c in enumerate(cells)]
    return Table(
        name="comparison",
        title="What moved",
        caption=f"Score {format_score_name(one)} in percent, mean over seeds; second minus first, "
        "and its "
        f"uncorrected {format_coverage(alpha)} interval. Paired by seed where both have the same "
        f"seeds, otherwise by Welch's test; p-values Holm-corrected over {len(tested)} variants.",
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


def _validate_same_score(one: Results, other: Results) -> None:
    names = format_score_name(one), format_score_name(other)
    if names[0] != names[1]:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` cannot be compared: score both studies alike"
        )
    protocols = [r.plan["probes"][r.plan["score"]["probe"]] for r in (one, other)]
    if protocols[0] != protocols[1]:
        raise ValueError(
            f"`{names[0]}` comes from differently set probes in the two: {protocols[0]} and "
            f"{protocols[1]}; score one of them again with the other's settings"
        )


def _pair_variants(one: Results, other: Results) -> list[_VariantPair]:
    """Pairs variants by their levels; the order of the factors does not matter."""
    found: dict[frozenset[tuple[str, str]], tuple[str, list[dict[int, TrialResult]]]] = {}
    for side, results in enumerate((one, other)):
        for levels, trials in results.variants().items():
            key = frozenset(zip(results.factors, levels, strict=True))
            _, sides = found.setdefault(key, (format_variant(levels), [{}, {}]))
            sides[side] = {trial.seed: trial for trial in trials if trial.score is not None}
    return [_VariantPair(name, *sides) for name, sides in found.values()]


def _build_row(
    cell: _VariantPair, estimate: Estimate, p: float | None, alpha: float
) -> dict[str, Any]:
    first, second = (
        _compute_mean([trial.score or 0.0 for trial in side.values()]) if side else None
        for side in (cell.one, cell.other)
    )
    counts = dict.fromkeys((len(cell.one), len(cell.other)))
    return {
        "variant": cell.variant,
        "first": first,
        "second": second,
        "difference": 0.0 if cell.same and cell.one else estimate.mean,
        "difference_low": estimate.low,
        "difference_high": estimate.high,
        "p_holm": p,
        "seeds": " and ".join(map(str, counts)) + (", paired" if cell.paired else ""),
        "moved": _classify_change(cell, estimate, p, alpha),
    }


def _classify_change(cell: _VariantPair, estimate: Estimate, p: float | None, alpha: float) -> str:
    if not cell.one or not cell.other:
        sides = {(True, False): "only in the first", (False, True): "only in the second"}
        return sides.get((bool(cell.one), bool(cell.other)), "no score")
    if cell.same:
        return SAME_RUNS
    if p is None:
        return "too few seeds to tell"
    if p >= alpha:
        return WITHIN_NOISE
    return ROSE if (estimate.mean or 0.0) > 0 else FELL


def _compute_mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
