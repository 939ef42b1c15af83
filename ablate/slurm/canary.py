"""The canary: one short trial of every combination of parts, before an array of them is let in.

It builds, trains a few steps, is told to stop, saves, resumes, and is probed.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.records.jobs import JobSpec
from ablate.core.records.messages import ANSWERS
from ablate.core.records.plan import PlanReply, PlanRequest
from ablate.core.records.protocol import parse_message
from ablate.core.records.run import RunConfig
from ablate.runs import store
from ablate.slurm.code_snapshot import parts

STEPS = 12  # of training, at most
FAILURE_FILE = "failure.json"  # why it could not even be planned, or how the site has ended it


def canary_name(submission: str) -> str:
    """Names the job of a submission's canary."""
    return f"{submission}-canary"


def write_canary(file: Path, configs: Sequence[RunConfig], spec: JobSpec) -> None:
    """Writes what the canary's job reads: a short trial of each combination of parts.

    `configs` are those of the array's runs; `spec` is what the jobs of the array read, too.
    """
    trials = []
    for config in distinct(configs):
        budget = config.settings["budget"]
        short = {**budget, "steps": min(STEPS, budget["steps"])}
        trials.append({**config.settings, "budget": short})
    (file.parent / "logs").mkdir(parents=True)
    replace(spec, canary=trials).write(file)


def prepare(home: Path, trials: Sequence[Mapping[str, Any]], cache: str) -> list[str]:
    """Has a worker name the trials, and makes their run folders in `home`; returns their paths.

    Raises `ValueError` where a trial cannot be built or the worker does not answer.
    """
    request = PlanRequest(trials=[dict(trial) for trial in trials])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ablate.worker", "--worker", "--cache", cache],
        input=request.to_line(),
        stdout=subprocess.PIPE,
        text=True,
    )
    messages = [parse_message(line, ANSWERS) for line in done.stdout.splitlines()]
    reply = messages[-1] if messages else None
    entries = reply.trials if isinstance(reply, PlanReply) else []
    folders = []
    for entry in entries:
        for problem in entry["problems"]:
            raise ValueError(f"`{'.'.join(problem['path'])}`: {problem['message']}")
        folder = home / entry["fingerprint"]
        store.write_config(folder, kind=entry.get("kind", "jepa"), settings=entry["settings"])
        folders.append(str(folder))
    if len(folders) < len(trials):
        raise ValueError(f"a worker could not plan the canary: exit code {done.returncode}")
    return folders


def distinct(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Picks the first training of each combination of parts; references are left out."""
    found: dict[tuple[str, ...], RunConfig] = {}
    for config in configs:
        if "budget" in config.settings:
            found.setdefault(tuple(parts(config.settings)), config)
    return list(found.values())
