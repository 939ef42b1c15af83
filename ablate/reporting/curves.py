"""What `metrics.jsonl` holds becomes curves: a quantity by step, a line for each seed."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ablate.reporting.results import Results

QUANTITIES = {"loss": "loss", "position_loss": "position loss", "effective_rank": "effective rank"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One quantity of one variant by step: every seed, and the mean over them."""

    quantity: str
    levels: tuple[str, ...]
    seeds: tuple[tuple[tuple[int, float], ...], ...]  # (step, value) of each seed

    @property
    def mean(self) -> list[tuple[int, float]]:
        """Returns the mean at the steps that every seed has reached."""
        runs = [dict(seed) for seed in self.seeds]
        shared = sorted(set.intersection(*(set(run) for run in runs)))
        return [(step, sum(run[step] for run in runs) / len(runs)) for step in shared]


def read_curves(results: Results, runs: Path) -> list[Curve]:
    """Reads the learning curves of every variant, quantity by quantity."""
    curves = []
    for levels, trials in results.variants().items():
        folders = [runs / trial.fingerprint for trial in trials if trial.fingerprint]
        logs = [_read_log(folder / "metrics.jsonl") for folder in folders]
        for quantity in QUANTITIES:
            seeds = [_series(log, quantity) for log in logs]
            if found := tuple(seed for seed in seeds if seed):
                curves.append(Curve(quantity=quantity, levels=levels, seeds=found))
    return curves


def _read_log(path: Path) -> list[Mapping[str, float | None]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    if lines and not lines[-1].endswith("}"):
        lines.pop()  # a run is writing, or was killed while it did
    return [json.loads(line) for line in lines]


def _series(log: list[Mapping[str, float | None]], quantity: str) -> tuple[tuple[int, float], ...]:
    points = {}
    for entry in log:
        step, value = entry.get("step"), entry.get(quantity)
        if step is not None and value is not None and math.isfinite(value):
            points[int(step)] = float(value)  # a resumed run says some steps twice
    return tuple(sorted(points.items()))
