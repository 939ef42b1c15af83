"""The record of the looks at a study: with how many seeds a report of it has been written.

It lies among the runs, `runs/looks/STUDY-QUESTION.json`, and not beside the report: a report may
be deleted and written again at any time, but it has been seen. When the runs are deleted, so is
the record: what is trained again from the same seeds is the same thing looked at twice. Another
variant, other settings, or another score make another question, with looks of its own;
variants that were added to a question after a look at it are named.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablate.config.sections import SeedGrowth
from ablate.core.io import find_json, write_json
from ablate.design.trials import variant_of

FOLDER = "looks"
Plan = Mapping[str, Any]
Look = dict[str, Any]  # `seeds`, how many; `most`, how many were declared, None where it was fixed


def taken(plan: Plan, runs: Path) -> list[Look]:
    """Returns the recorded looks at a plan's question, in order."""
    return list((find_json(_file(plan, runs)) or {}).get("looks", ()))


def seeds_now(growth: SeedGrowth, plan: Plan, runs: Path) -> int:
    """Returns how many of the declared seeds there are by now: those of the look with most.

    Before the first look, those that it starts with.
    """
    counts = [look["seeds"] for look in taken(plan, runs) if look["most"] == growth.max]
    return max(counts, default=growth.start)


def told(plan: Plan, growth: SeedGrowth | None, runs: Path) -> dict[str, Any]:
    """Returns what a plan says of its looks: those that are declared, and those that are not.

    `looks` holds the seeds at each declared look, this one last; `uncorrected` every other look,
    which no p-value makes up for; `added` the variants that an earlier look had not.
    """
    added = _added(plan, runs)
    return {**_counted(plan, growth, runs), **({"added": added} if added else {})}


def _counted(plan: Plan, growth: SeedGrowth | None, runs: Path) -> dict[str, Any]:
    now = len(plan["seeds"])
    most = growth.max if growth else None
    found = taken(plan, runs)
    before = sorted({look["seeds"] for look in found if look["most"] == most})
    other = [look for look in found if look["most"] != most]
    if growth is None:
        fewer = [look for look in found if look["seeds"] < now]
        return {"uncorrected": fewer} if fewer else {}
    counts = [*(count for count in before if count < now), now]
    looks = {"looks": {"counts": counts, "most": growth.max}}
    return {**looks, "uncorrected": other} if other else looks


def record(plan: Plan, runs: Path) -> None:
    """Writes down that a report of this plan is being made; the same look twice counts once."""
    look = {"seeds": len(plan["seeds"]), "most": (plan.get("looks") or {}).get("most")}
    found, file = taken(plan, runs), _file(plan, runs)
    looks = found if look in found else [*found, look]
    told = {"study": plan["study"], "looks": looks, "asked": _asked(plan)}
    if told != find_json(file):
        write_json(file, told)


def _added(plan: Plan, runs: Path) -> list[str]:
    """Names the variants that were not there yet when others were compared in a report.

    Records of any study count: a bigger study may have another name. Those that were written
    before they said what was asked tell nothing.
    """
    asked, named = _asked(plan), _arms(plan)
    records = [find_json(path) or {} for path in sorted((runs / FOLDER).glob("*.json"))]
    earlier = [record["asked"] for record in records if "asked" in record]
    seen = [set(one["arms"]) for one in earlier if one["score"] == asked["score"]]
    fewer = [arms for arms in seen if len(arms) > 1 and arms < named.keys()]
    return [name for arm, name in named.items() if any(arm not in arms for arms in fewer)]


def _asked(plan: Plan) -> dict[str, Any]:
    """Says what is compared, and by which score."""
    score = plan["score"]
    return {
        "arms": sorted(_arms(plan)),
        "score": [plan["probes"][score["probe"]], score["pooling"]],
    }


def _arms(plan: Plan) -> dict[str, str]:
    """Names each variant by its trial of the first seed and, where that varies, by its probe."""
    found = {}
    for trial in plan["trials"]:
        if trial["seed"] == plan["seeds"][0]:
            probe = plan["probes"][trial["probe"]] if "probe" in trial else None
            arm = json.dumps([trial["fingerprint"], *([probe] if probe else [])], sort_keys=True)
            found[arm] = variant_of(trial["levels"].values())
    return found


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
