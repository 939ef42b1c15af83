"""The record of the looks at a study: with how many seeds a report of it has been written.

It lies among the runs, `runs/looks/STUDY-QUESTION.json`, and not beside the report: a report may
be deleted and written again at any time, but it has been seen. When the runs are deleted, so is
the record: what is trained again from the same seeds is the same thing looked at twice. Another
variant, other settings, or another score make another question, with looks of its own.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.files import find_json, write_json
from ablate.sections.seeds import Growth

FOLDER = "looks"
Plan = Mapping[str, Any]
Look = dict[str, Any]  # `seeds`, how many; `most`, how many were declared, None where it was fixed


def taken(plan: Plan, runs: Path) -> list[Look]:
    """Returns the recorded looks at a plan's question, in order."""
    return list((find_json(_file(plan, runs)) or {}).get("looks", ()))


def seeds_now(growth: Growth, plan: Plan, runs: Path) -> int:
    """Returns how many of the declared seeds there are by now: those of the look with most.

    Before the first look, those that it starts with.
    """
    counts = [look["seeds"] for look in taken(plan, runs) if look["most"] == growth.most]
    return max(counts, default=growth.start)


def told(plan: Plan, growth: Growth | None, runs: Path) -> dict[str, Any]:
    """Returns what a plan says of its looks: those that are declared, and those that are not.

    `looks` holds the seeds at each declared look, this one last; `uncorrected` every other look,
    which no p-value makes up for.
    """
    now = len(plan["seeds"])
    most = growth.most if growth else None
    found = taken(plan, runs)
    before = sorted({look["seeds"] for look in found if look["most"] == most})
    other = [look for look in found if look["most"] != most]
    if growth is None:
        fewer = [look for look in found if look["seeds"] < now]
        return {"uncorrected": fewer} if fewer else {}
    counts = [*(count for count in before if count < now), now]
    looks = {"looks": {"counts": counts, "most": growth.most}}
    return {**looks, "uncorrected": other} if other else looks


def record(plan: Plan, runs: Path) -> None:
    """Writes down that a report of this plan is being made; the same look twice counts once."""
    look = {"seeds": len(plan["seeds"]), "most": (plan.get("looks") or {}).get("most")}
    found = taken(plan, runs)
    if look not in found:
        write_json(_file(plan, runs), {"study": plan["study"], "looks": [*found, look]})


def _file(plan: Plan, runs: Path) -> Path:
    """Names the record by what was asked: the trials of one seed, and how they are scored."""
    first = plan["seeds"][0]
    score = plan["score"]
    asked = {
        "trials": sorted(t["fingerprint"] for t in plan["trials"] if t["seed"] == first),
        "score": [plan["probes"][score["probe"]], score["pooling"]],
    }
    if others := {t["probe"] for t in plan["trials"] if "probe" in t}:
        asked["probes"] = [plan["probes"][name] for name in sorted(others)]
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]
    return runs / FOLDER / f"{plan['study']}-{key}.json"
