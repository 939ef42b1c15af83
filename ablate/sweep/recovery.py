"""What was asked of a run, written beside it: from this a storage that is lost is rebuilt."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from ablate.config.search_space import Point, Tried
from ablate.core.io import find_json, write_json
from ablate.runs import store
from ablate.runs.record import read_record

TOLD = ("rungs", "by_seed", "pruned")  # what may be told of a point beside what it was
Record = tuple[dict[str, str], Tried]  # distributions, and what became of the point


def remember(
    runs: Path,
    search: str,
    point: Point,
    fingerprints: Sequence[str],
    told: Mapping[str, Any] | None = None,
) -> None:
    """Writes down, in each run of a point, which point of which search it is.

    `told` may hold its scores at `rungs` and `by_seed`, and why it was `pruned`.
    """
    content = {
        "search": search,
        "number": point.number,
        "params": point.params,
        "distributions": point.distributions,
        "runs": list(fingerprints),
        **(told or {}),
    }
    key = hashlib.sha256(f"{search} {point.number}".encode()).hexdigest()[:10]
    for fingerprint in fingerprints:
        write_json(runs / fingerprint / "asked" / f"{key}.json", content)


def recall(
    runs: Path, search: str, probe: dict[str, Any], pooling: str, objectives: Sequence[str]
) -> list[Record]:
    """Reads the points of a search whose runs have ended, in the order that they were given out in.

    A point that was given out twice, as its process was lost, is returned once.
    """
    records: list[Record] = []
    for asked in _asked(runs, search):
        number = asked["number"]
        folders = [runs / name for name in asked["runs"]]
        values, reason = worth(folders, probe, pooling, objectives)
        told = {key: asked[key] for key in TOLD if key in asked}
        if "pruned" in told:
            facts_then = {**facts(folders), **told}
            tried = Tried(number, asked["params"], None, told["pruned"], facts_then)
            records.append((asked["distributions"], tried))
        elif values is not None or any(
            store.read_status(folder).state == "failed" for folder in folders
        ):
            tried = Tried(number, asked["params"], values, reason, {**facts(folders), **told})
            records.append((asked["distributions"], tried))
    return records


def runs_of(runs: Path, studies: Iterable[str]) -> set[Path]:
    """Finds the run folders that sweeps of some studies, given by name, have asked for."""
    begins = tuple(f"{study}{mark}" for study in studies for mark in (": ", " ("))
    asked = {path: find_json(path) for path in runs.glob("*/asked/*.json")}
    return {
        path.parents[1]
        for path, content in asked.items()
        if content is not None and content["search"].startswith(begins)
    }


def worth(
    folders: Sequence[Path], probe: dict[str, Any], pooling: str, objectives: Sequence[str]
) -> tuple[tuple[float, ...] | None, str | None]:
    """Returns what a point is worth, each objective as its mean over seeds, and None; or why not.

    `score` is the validation score in percent; a cost is in its own unit: steps, clips, FLOPs,
    seconds, tokens. Where a run lacks one, returns None and the reason.
    """
    values = []
    for objective in objectives:
        found = [_value(folder, probe, pooling, objective) for folder in folders]
        known = [value for value in found if value is not None]
        if len(known) < len(folders):
            reasons = [store.read_status(folder).reason for folder in folders]
            said = next((reason for reason in reasons if reason), None)
            return None, said or f"a run has no {objective} on the validation part"
        values.append(fmean(known))
    return tuple(values), None


def facts(folders: Sequence[Path]) -> dict[str, Any]:
    """Returns what a reader of a point may want: its runs, their mean health and cost.

    `collapsed` counts the runs that did.
    """
    records = [read_record(folder) for folder in folders]
    found: dict[str, Any] = {"runs": [folder.name for folder in folders]}
    for groups in ([r.metrics for r in records], [r.cost for r in records]):
        values = [{} if group is None else asdict(group) for group in groups]
        for name in dict.fromkeys(name for found in values for name in found):
            numbers = [found.get(name) for found in values]
            if all(isinstance(number, int | float) for number in numbers):
                found[name] = fmean(number for number in numbers if number is not None)
    found["collapsed"] = sum(record.collapsed for record in records)
    return found


def _asked(runs: Path, search: str) -> list[dict[str, Any]]:
    """Returns what was written of each point of a search, in the order of their numbers.

    A point is known by its parameters: a storage that was rebuilt deals the numbers anew.
    """
    notes = filter(None, map(find_json, runs.glob("*/asked/*.json")))
    points = [(json.dumps(n["params"], sort_keys=True), n) for n in notes if n["search"] == search]
    found: dict[str, dict[str, Any]] = {}
    for params, note in sorted(points, key=lambda pair: (pair[1]["number"], pair[0])):
        found[params] = {**note, **found.get(params, {})}  # told of when it was asked for again
    return list(found.values())


def _value(folder: Path, probe: dict[str, Any], pooling: str, objective: str) -> float | None:
    if objective == "score":
        return store.read_score(folder, probe, pooling, part="valid")
    cost = read_record(folder).cost
    value = getattr(cost, objective.removeprefix("cost."), None)
    return None if value is None else float(value)
