"""Reads learning curves from the `metrics.jsonl` files of runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.core.records.metrics_log import METRICS_FILE, Row, read_rows, warn_of_lost_end
from ablate.report.results import Results, TrialResult

QUANTITIES = {  # name in `metrics.jsonl` -> axis label
    "loss": "loss",
    "position_loss": "position loss",
    "effective_rank": "effective rank",
    "online_score": "online score, percent",
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity of one variant over steps, for every seed."""

    quantity: str  # a key of `QUANTITIES`
    levels: tuple[str, ...]  # the variant's levels in the order of the factors
    seeds: tuple[tuple[tuple[int, float], ...], ...]  # per seed: (step, value)
    seed_numbers: tuple[int, ...] = ()  # seeds in the order of `seeds`
    hours_per_step: float | None = None  # hours of audio per step, equal for all seeds

    @property
    def mean(self) -> list[tuple[int, float]]:
        """(step, mean over seeds), at the steps that every seed has recorded."""
        runs = [dict(seed) for seed in self.seeds]
        shared = sorted(set.intersection(*(set(run) for run in runs)))
        return [(step, sum(run[step] for run in runs) / len(runs)) for step in shared]


def read_curves(results: Results, runs: Path) -> list[Curve]:
    """Reads the learning curves of every variant, quantity by quantity.

    Args:
        results: The study's trials.
        runs: Folder of the run folders.

    Returns:
        One curve per variant and quantity; a variant without a finite value has none.
    """
    curves = []
    for levels, trials in results.variants().items():
        logs = {trial.seed: _read_log(trial, runs) for trial in trials if trial.fingerprint}
        hours = _compute_hours_per_step(trials)
        for quantity in QUANTITIES:
            series = {seed: _extract_series(log, quantity) for seed, log in logs.items()}
            recorded = {seed: points for seed, points in series.items() if points}
            if recorded:
                curves.append(
                    Curve(
                        quantity=quantity,
                        levels=levels,
                        seeds=tuple(recorded.values()),
                        seed_numbers=tuple(recorded),
                        hours_per_step=hours,
                    )
                )
    return curves


def _read_log(trial: TrialResult, runs: Path) -> list[Row]:
    """Reads the log of a trial; a warning tells if it ends before the training did."""
    file = runs / trial.fingerprint / METRICS_FILE
    rows = read_rows(file)
    last, steps = max((row.get("step", 0) for row in rows), default=0), trial.cost.get("steps", 0)
    if trial.state == "done" and last < steps:
        warn_of_lost_end(file, last, int(steps))
    return rows


def _compute_hours_per_step(trials: Sequence[TrialResult]) -> float | None:
    costs = [trial.cost for trial in trials]
    rates = [cost["audio_hours"] / cost["steps"] for cost in costs if cost.get("audio_hours")]
    return rates[0] if rates else None


def _extract_series(log: Sequence[Row], quantity: str) -> tuple[tuple[int, float], ...]:
    points = {}
    for entry in log:
        step, value = entry.get("step"), entry.get(quantity)
        if step is not None and value is not None and math.isfinite(value):
            points[int(step)] = float(value)  # a resumed run records some steps twice
    return tuple(sorted(points.items()))


def group_identical_curves(curves: Sequence[Curve]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """Groups variants with identical curves: the first variant of a group -> all of its group."""
    by_variant: dict[tuple[str, ...], list[object]] = {}
    for curve in curves:
        by_variant.setdefault(curve.levels, []).append((curve.quantity, curve.seeds))
    shared: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for levels, own in by_variant.items():
        first = next((other for other in shared if by_variant[other] == own), levels)
        shared.setdefault(first, []).append(levels)
    return shared
