"""Records each point of a sweep in its run folders, from which a lost storage is rebuilt."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ablate.config.search_space import FinishedPoint, Point
from ablate.core.io import DamagedFileError
from ablate.core.records.sweep import SweepPoint
from ablate.runs import store
from ablate.runs.record import read_record

logger = logging.getLogger(__name__)
POINTS = "sweep_points"  # folder in a run folder
# distributions by parameter, and how the point ended
RecordedPoint = tuple[dict[str, str], FinishedPoint]


def record_point(
    runs: Path,
    search: str,
    point: Point,
    fingerprints: Sequence[str],
    *,
    rungs: dict[str, float] | None = None,
    by_seed: dict[str, float] | None = None,
    pruned: str | None = None,
) -> None:
    """Writes into each run of a point which point of which search it is.

    `rungs` and `by_seed` are the scores that a pruner saw; `pruned` is the reason if it pruned.
    """
    record = SweepPoint(
        search=search,
        number=point.number,
        params=dict(point.params),
        distributions=dict(point.distributions),
        runs=list(fingerprints),
        rungs=dict(rungs or {}),
        by_seed=dict(by_seed or {}),
        pruned=pruned,
    )
    key = hashlib.sha256(f"{search} {point.number}".encode()).hexdigest()[:10]
    for fingerprint in fingerprints:
        record.write(runs / fingerprint / POINTS / f"{key}.json")


def load_points(
    runs: Path, search: str, probe: dict[str, Any], pooling: str, objectives: Sequence[str]
) -> list[RecordedPoint]:
    """Reads the points of a search whose runs have ended, in the order of their numbers.

    A point that was tried twice, because its process was lost, is returned once.
    """
    points: list[RecordedPoint] = []
    for point in _read_points(runs, search):
        folders = [runs / name for name in point.runs]
        facts = {**summarize_runs(folders), **point.list_scores()}
        values, reason = compute_objectives(folders, probe, pooling, objectives)
        failed = any(store.read_status(folder).state == "failed" for folder in folders)
        if point.pruned:
            tried = FinishedPoint(point.number, point.params, None, point.pruned, facts)
        elif values is not None or failed:
            tried = FinishedPoint(point.number, point.params, values, reason, facts)
        else:
            continue
        points.append((point.distributions, tried))
    return points


def correct_points(
    ended: Sequence[FinishedPoint], recorded: Iterable[FinishedPoint], storage: str
) -> list[FinishedPoint]:
    """Returns points as the storage has them, corrected by what their runs record.

    Unlike the records of runs, the storage has no checksums. A correction is logged as a warning.

    Args:
        ended: points of a search that have ended, according to the storage.
        recorded: points of the same search that their runs record, see `load_points`.
        storage: name of the storage, for the warning.
    """
    points = list(recorded)
    by_params = {json.dumps(point.params, sort_keys=True): point for point in points}
    by_runs = {tuple(point.facts["runs"]): point for point in points}
    corrected = []
    for point in ended:
        same = by_params.get(json.dumps(point.params, sort_keys=True))
        own = same or by_runs.get(tuple(point.facts.get("runs", ())))
        if own is None:  # its runs were deleted
            corrected.append(point)
            continue
        if (own.params, own.values) != (point.params, point.values):
            logger.warning(
                "point %d of the sweep: %s has %s with %s, its runs have %s with %s, which counts",
                point.number,
                storage,
                point.values,
                point.params,
                own.values,
                own.params,
            )
        corrected.append(replace(own, number=point.number, facts={**point.facts, **own.facts}))
    return corrected


def find_sweep_runs(runs: Path, studies: Iterable[str]) -> set[Path]:
    """Returns the run folders that sweeps of the named studies have used, or may have used."""
    begins = tuple(f"{study}{mark}" for study in studies for mark in (": ", " ("))
    paths = runs.glob(f"*/{POINTS}/*.json")
    points = ((path, _find_point(path)) for path in paths)
    return {
        path.parents[1] for path, point in points if not point or point.search.startswith(begins)
    }


def compute_objectives(
    folders: Sequence[Path], probe: dict[str, Any], pooling: str, objectives: Sequence[str]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Returns each objective of a point as its mean over seeds, and None; or None and the reason.

    `score` is the validation score in percent; a cost is in its own unit: steps, clips, FLOPs,
    seconds, tokens. If a run lacks an objective, there are no values.
    """
    values = []
    for objective in objectives:
        by_run = [_read_objective(folder, probe, pooling, objective) for folder in folders]
        present = [value for value in by_run if value is not None]
        if len(present) < len(folders):
            reasons = [store.read_status(folder).reason for folder in folders]
            reason = next((reason for reason in reasons if reason), None)
            return None, reason or f"a run has no {objective} on the validation part"
        values.append(fmean(present))
    return tuple(values), None


def summarize_runs(folders: Sequence[Path]) -> dict[str, Any]:
    """Returns facts about a point: its runs, and the means of their metrics and costs.

    `collapsed` is the number of runs that collapsed.
    """
    records = [read_record(folder) for folder in folders]
    facts: dict[str, Any] = {"runs": [folder.name for folder in folders]}
    for groups in ([r.metrics for r in records], [r.cost for r in records]):
        by_run = [{} if group is None else asdict(group) for group in groups]
        for name in dict.fromkeys(name for values in by_run for name in values):
            numbers = [values.get(name) for values in by_run]
            if all(isinstance(number, int | float) for number in numbers):
                facts[name] = fmean(number for number in numbers if number is not None)
    facts["collapsed"] = sum(record.collapsed for record in records)
    return facts


def _read_points(runs: Path, search: str) -> list[SweepPoint]:
    """Returns the recorded points of a search, each once, in the order of their numbers.

    Points are identified by their parameters, because a rebuilt storage assigns new numbers. Scores
    that only a later record has are added to the first.
    """
    recorded = map(_find_point, runs.glob(f"*/{POINTS}/*.json"))
    records = [point for point in recorded if point and point.search == search]
    keys = [(json.dumps(record.params, sort_keys=True), record) for record in records]
    points: dict[str, SweepPoint] = {}
    for params, point in sorted(keys, key=lambda pair: (pair[1].number, pair[0])):
        first = points.get(params, point)
        points[params] = replace(
            first,
            rungs=first.rungs or point.rungs,
            by_seed=first.by_seed or point.by_seed,
            pruned=first.pruned or point.pruned,
        )
    return list(points.values())


def _find_point(path: Path) -> SweepPoint | None:
    """Reads a recorded point; None, with a warning, if its file is damaged.

    Each run of the point has a copy.
    """
    try:
        return SweepPoint.read(path)
    except DamagedFileError as error:
        logger.warning("%s %s; it is passed over", path, error.problem)
        return None


def _read_objective(
    folder: Path, probe: dict[str, Any], pooling: str, objective: str
) -> float | None:
    if objective == "score":
        return store.read_score(folder, probe, pooling, part="valid")
    cost = read_record(folder).cost
    value = getattr(cost, objective.removeprefix("cost."), None)
    return None if value is None else float(value)
