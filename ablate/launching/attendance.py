"""The verbs of a study on a cluster, in lines of text: who is in the queue, cancel, try again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.files import find_json, write_json
from ablate.launching import ledger, queueing, settling
from ablate.launching.commands import RefusedError
from ablate.launching.queueing import Submitted


def folders(plan: Mapping[str, Any], runs: Path) -> list[Path]:
    """Lists the run folders of a saved plan, each once: trials and their references."""
    names = ("fingerprint", "twin", "statistics")
    found = dict.fromkeys(trial[name] for trial in plan["trials"] for name in names)
    return [runs / fingerprint for fingerprint in found]


def queue(plan: Mapping[str, Any], runs: Path) -> list[str]:
    """Settles the runs whose jobs are gone; says what is queued, and why a canary has died."""
    given = {f: found for f in folders(plan, runs) if (found := queueing.last(f)) is not None}
    if not given:
        return []
    try:
        lines = settling.reconcile(given)
    except RefusedError as error:
        return [f"cannot ask the queue: {error}"]
    traces = {found.canary: found for found in given.values() if found.canary}
    for canary, found in traces.items():
        if trace := settling.canary_trace(found):
            lines += [f"the canary in {canary} failed:", *(f"  {line}" for line in trace)]
    return lines


def queued(plan: Mapping[str, Any], runs: Path) -> dict[Path, Submitted]:
    """Finds the runs of a plan that are in the queue. Raises `RefusedError`."""
    given = {f: found for f in folders(plan, runs) if (found := queueing.last(f)) is not None}
    places = queueing.places(given.values())
    return {folder: found for folder, found in given.items() if found.job in places}


def is_busy(plan: Mapping[str, Any], runs: Path) -> bool:
    """Tells whether a run of a plan is running, or in a queue; so does a queue that is silent."""
    if any(ledger.entry(folder).state == "running" for folder in folders(plan, runs)):
        return True
    try:
        return bool(queued(plan, runs))
    except RefusedError:
        return True


def release(plan: Mapping[str, Any], runs: Path, kinds: Sequence[str]) -> list[str]:
    """Lets failed runs be tried again: all, or those whose reason begins with one of `kinds`.

    Marks them cancelled, so that the study runs them again; returns a line for each.
    """
    lines = []
    for folder in folders(plan, runs):
        entry = ledger.entry(folder)
        kind = (entry.reason or "").partition(":")[0]
        if entry.state == "failed" and (not kinds or kind in kinds):
            record = find_json(folder / "run.json") or {}
            reason = f"to be tried again after {entry.reason}"
            write_json(folder / "run.json", {**record, "state": "cancelled", "reason": reason})
            lines.append(f"  {folder.name}: {entry.reason}")
    return lines
