"""What `metrics.jsonl` holds becomes curves: a quantity by step, a line for each seed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.report.results import Results, TrialResult

QUANTITIES = {  # name in `metrics.jsonl` -> its axis
    "loss": "loss",
    "position_loss": "position loss",
    "effective_rank": "effective rank",
    "online_score": "online score, percent",
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity of one variant by step: every seed, and the mean over them."""

    quantity: str  # of `QUANTITIES`
    levels: tuple[str, ...]  # of the variant, in the factors' order
    seeds: tuple[tuple[tuple[int, float], ...], ...]  # (step, value) of each seed
    seed_numbers: tuple[int, ...] = ()  # of the seeds, in the same order
    hours_per_step: float | None = None  # of audio, the same for every seed; None where unknown

    @property
    def mean(self) -> list[tuple[int, float]]:
        """Returns (step, mean over seeds) at the steps that every seed has recorded."""
        runs = [dict(seed) for seed in self.seeds]
        shared = sorted(set.intersection(*(set(run) for run in runs)))
        return [(step, sum(run[step] for run in runs) / len(runs)) for step in shared]


def read_curves(results: Results, runs: Path) -> list[Curve]:
    """Reads the learning curves of every variant, quantity by quantity.

    A variant without a finite value of a quantity has no curve of it. Raises `ValueError` for a
    line of `metrics.jsonl`, its last apart, that is not JSON.
    """
    curves = []
    for levels, trials in results.variants().items():
        logs = {
            trial.seed: _read_log(runs / trial.fingerprint / "metrics.jsonl")
            for trial in trials
            if trial.fingerprint
        }
        hours = _compute_hours_per_step(trials)
        for quantity in QUANTITIES:
            series = {seed: _extract_series(log, quantity) for seed, log in logs.items()}
            found = {seed: one for seed, one in series.items() if one}
            if found:
                curves.append(
                    Curve(
                        quantity=quantity,
                        levels=levels,
                        seeds=tuple(found.values()),
                        seed_numbers=tuple(found),
                        hours_per_step=hours,
                    )
                )
    return curves


def _compute_hours_per_step(trials: Sequence[TrialResult]) -> float | None:
    costs = [trial.cost for trial in trials]
    known = [cost["audio_hours"] / cost["steps"] for cost in costs if cost.get("audio_hours")]
    return known[0] if known else None


def _read_log(path: Path) -> list[Mapping[str, float | None]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines and not lines[-1].endswith("}"):
        lines.pop()  # a run is writing, or was killed while it did
    return [json.loads(line) for line in lines]


def _extract_series(
    log: list[Mapping[str, float | None]], quantity: str
) -> tuple[tuple[int, float], ...]:
    points = {}
    for entry in log:
        step, value = entry.get("step"), entry.get(quantity)
        if step is not None and value is not None and math.isfinite(value):
            points[int(step)] = float(value)  # a resumed run says some steps twice
    return tuple(sorted(points.items()))


def group_identical_curves(curves: Sequence[Curve]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """Maps the first of the variants whose curves are all the same to all of them."""
    found: dict[tuple[str, ...], list[object]] = {}
    for curve in curves:
        found.setdefault(curve.levels, []).append((curve.quantity, curve.seeds))
    shared: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for levels, own in found.items():
        first = next((other for other in shared if found[other] == own), levels)
        shared.setdefault(first, []).append(levels)
    return shared
