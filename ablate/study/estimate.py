"""What a study will take and what it will be able to see, told before anything is spent."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from ablate.config.sections import Limits
from ablate.runs import store
from ablate.runs.pending import PendingWork
from ablate.runs.status import estimate_kept_bytes
from ablate.study.exit_codes import OverBudgetError

Plan = Mapping[str, Any]
MORE_SEEDS = 2  # about which is said what they would show
LEAST_SEEDS = 2  # fewer have no spread


def describe(plan: Plan, found: PendingWork, runs: Path) -> list[str]:
    """Says how many hours are left, where that is known, and which differences would be seen."""
    lines = []
    if found.trainings and (hours := _expected_hours(plan, found, runs)) is not None:
        lines.append(f"about {hours:.2g} hours of training left, going by its finished trials")
    return [*lines, *_seen(plan, runs)]


def _expected_hours(plan: Plan, found: PendingWork, runs: Path) -> float | None:
    """Returns the hours of training that are left, by the mean of the done trials.

    Added up over workers, without the scoring; None where no trial is done.
    """
    entries = [store.read_status(runs / trial["fingerprint"]) for trial in plan["trials"]]
    seconds = [entry.seconds for entry in entries if entry.state == "done" and entry.seconds]
    return len(found.trainings) * fmean(seconds) / 3600 if seconds else None


def check(
    limits: Limits, plan: Plan, found: PendingWork, runs: Path, *, hours: float | None = None
) -> None:
    """Raises `OverBudgetError` where what is left to do is more than a study's limits.

    `hours` are those that canaries foretell; without them the mean of the done trials is taken,
    and where none is done, hours are not checked.
    """
    wanted = {
        "trials": float(len(found.trainings)),
        "hours": _expected_hours(plan, found, runs) if hours is None else hours,
        "disk_gb": estimate_kept_bytes(plan["trials"]) / 1e9,
    }
    problems = [
        f"`limits.{name}` is {limit:g}, but the study would take {value:.3g}"
        for name, value in wanted.items()
        if (limit := getattr(limits, name)) is not None and value is not None and value > limit
    ]
    if problems:
        raise OverBudgetError("; ".join(problems))


def _seen(plan: Plan, runs: Path) -> list[str]:
    """Says the smallest difference that the seeds can show, and which one some more would."""
    from ablate.report.stats.decision_rules import compute_look_alpha, read_looks
    from ablate.report.stats.power import compute_detectable_difference  # scipy: only for who plans

    seeds = len(plan["seeds"])
    family = sum(len(levels) - 1 for levels in plan["factors"].values())
    if seeds < LEAST_SEEDS or not family:
        return []
    spread, alpha, taken = measured_spread(plan, runs), plan["report"]["alpha"], read_looks(plan)
    more = min(seeds + MORE_SEEDS, taken.max_seeds) if taken else seeds + MORE_SEEDS

    def least(count: int) -> float:
        spent = alpha
        if taken:
            further = (count,) if count > seeds else ()
            spent = compute_look_alpha((*taken.seed_counts, *further), taken.max_seeds, alpha=alpha)
        return compute_detectable_difference(spread or 1.0, count, alpha=spent, family=family)

    unit = "points" if spread else "SD"
    line = f"With {seeds} seeds, 80 % power needs a paired difference of {least(seeds):.2g} {unit}"
    if more > seeds:
        line += f"; with {more} seeds, {least(more):.2g} {unit}"
    known = f"whose SD is {spread:.2g} points so far" if spread else "whose SD is not known yet"
    return [f"{line} ({known})."]


def measured_spread(plan: Plan, runs: Path) -> float | None:
    """Returns the standard deviation over seeds of paired differences, pooled over contrasts.

    In points of the validation score; None before two seeds of some contrast are done.
    """
    variances, freedom = 0.0, 0
    for differences in _differences(plan, runs):
        if len(differences) >= LEAST_SEEDS:
            variances += variance(differences) * (len(differences) - 1)
            freedom += len(differences) - 1
    return math.sqrt(variances / freedom) or None if freedom else None


def _differences(plan: Plan, runs: Path) -> Iterator[list[float]]:
    """Yields, of each level within each combination, its differences to the baseline's level."""
    probe, pooling = plan["probes"][plan["score"]["probe"]], plan["score"]["pooling"]
    scores: dict[tuple[tuple[tuple[str, str], ...], int], float] = {}
    for trial in plan["trials"]:
        folder = runs / trial["fingerprint"]
        if folder.is_dir():
            value = store.read_score(folder, probe, pooling, part="valid")
            if value is not None:
                scores[tuple(trial["levels"].items()), trial["seed"]] = value
    for factor, against in plan["baseline"].items():
        for levels in dict.fromkeys(levels for levels, _ in scores):
            own = dict(levels)
            if own.get(factor, against) == against:
                continue
            other = tuple((name, against if name == factor else own[name]) for name in own)
            yield [
                scores[levels, seed] - scores[other, seed]
                for seed in plan["seeds"]
                if (levels, seed) in scores and (other, seed) in scores
            ]
