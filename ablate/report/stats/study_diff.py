"""What changed between two sets of results: which variants moved by more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from ablate.report.pages.table import Column, Table, chance_of, interval_of, number_of, plain
from ablate.report.pages.tables import score_name
from ablate.report.results import Results, Trial, label_of
from ablate.report.stats.decision_rules import percent
from ablate.report.stats.statistics import Estimate, holm, t_interval

SAME, ROSE, FELL, NOISE = "the same runs", "rose", "fell", "within noise"


@dataclass(frozen=True)
class _Cell:
    """One variant in both results: the trials that have a score, by seed."""

    variant: str
    one: Mapping[int, Trial]  # seed -> trial
    other: Mapping[int, Trial]

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
            return t_interval([b - a for a, b in zip(before, after, strict=True)], alpha=alpha)
        after = [trial.score or 0.0 for trial in self.other.values()]
        n, mean = min(len(before), len(after)), _mean(after) - _mean(before)
        if n < 2 or not (len(set(before)) > 1 or len(set(after)) > 1):
            return Estimate(n=n, mean=mean if n else None)
        test = stats.ttest_ind(after, before, equal_var=False)
        low, high = test.confidence_interval(1 - alpha)
        return Estimate(n=n, mean=mean, low=float(low), high=float(high), p=float(test.pvalue))


def compare(one: Results, other: Results) -> Table:
    """Tabulates every variant of two results: how far its score moved, and whether beyond noise.

    Differences are in points. P-values are corrected by Holm over the variants that have scores
    on both sides, and held against the alpha of `one`. Raises `ValueError` where the two are
    scored by different probes or poolings.
    """
    _check_scored_alike(one, other)
    alpha = one.plan["report"]["alpha"]
    cells = _cells(one, other)
    estimates = [Estimate(n=0, mean=None) if c.same else c.difference(alpha) for c in cells]
    tested = [i for i, cell in enumerate(cells) if cell.one and cell.other and not cell.same]
    ps = dict(zip(tested, holm([estimates[i].p for i in tested]), strict=True))
    rows = [_row(c, estimates[i], ps.get(i), alpha) for i, c in enumerate(cells)]
    return Table(
        name="comparison",
        title="What moved",
        caption=f"Score {score_name(one)} in percent, mean over seeds; second minus first, and its "
        f"uncorrected {percent(alpha)} interval. Paired by seed where both have the same "
        f"seeds, otherwise by Welch's test; p-values Holm-corrected over {len(tested)} variants.",
        columns=(
            Column(head="variant", show=plain("variant"), text=True),
            Column(head="first", show=number_of("first")),
            Column(head="second", show=number_of("second")),
            Column(head="difference", show=number_of("difference", signed=True)),
            Column(head="interval", show=interval_of("difference")),
            Column(head="p", show=chance_of("p_holm")),
            Column(head="seeds", show=plain("seeds"), text=True),
            Column(head="moved", show=plain("moved"), text=True),
        ),
        rows=tuple(rows),
    )


def _check_scored_alike(one: Results, other: Results) -> None:
    names = score_name(one), score_name(other)
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


def _cells(one: Results, other: Results) -> list[_Cell]:
    """Pairs variants by their levels; the order of the factors does not matter."""
    found: dict[frozenset[tuple[str, str]], tuple[str, list[dict[int, Trial]]]] = {}
    for side, results in enumerate((one, other)):
        for levels, trials in results.variants().items():
            key = frozenset(zip(results.factors, levels, strict=True))
            _, sides = found.setdefault(key, (label_of(levels), [{}, {}]))
            sides[side] = {trial.seed: trial for trial in trials if trial.score is not None}
    return [_Cell(name, *sides) for name, sides in found.values()]


def _row(cell: _Cell, estimate: Estimate, p: float | None, alpha: float) -> dict[str, Any]:
    first, second = (
        _mean([trial.score or 0.0 for trial in side.values()]) if side else None
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
        "moved": _word(cell, estimate, p, alpha),
    }


def _word(cell: _Cell, estimate: Estimate, p: float | None, alpha: float) -> str:
    if not cell.one or not cell.other:
        sides = {(True, False): "only in the first", (False, True): "only in the second"}
        return sides.get((bool(cell.one), bool(cell.other)), "no score")
    if cell.same:
        return SAME
    if p is None:
        return "too few seeds to tell"
    if p >= alpha:
        return NOISE
    return ROSE if (estimate.mean or 0.0) > 0 else FELL


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
