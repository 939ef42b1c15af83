"""The canary: one short trial of every combination of parts, before an array of them is let in.

It builds, trains a few steps, is told to stop, saves, resumes, and is probed.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.records.jobs import JobSpec
from ablate.core.records.plan import PlanRequest
from ablate.core.records.run import RunConfig
from ablate.executors.worker import Worker, WorkerDiedError
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
    worker = Worker([sys.executable, "-P", "-m", "ablate.worker", "--worker", "--cache", cache])
    try:
        reply = worker.plan(PlanRequest(trials=tuple(map(dict, trials))))
    except WorkerDiedError as error:
        raise ValueError(f"a worker could not plan the canary: {error}") from error
    finally:
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()
    for problem in reply.all_problems:
        raise ValueError(f"`{'.'.join(problem.path)}`: {problem.message}")
    folders = []
    for trial in reply.get_resolved():
        folder = home / trial.fingerprint
        store.write_config(folder, kind=trial.kind, settings=trial.settings)
        folders.append(str(folder))
    return folders


def distinct(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Picks the first training of each combination of parts; references are left out."""
    found: dict[tuple[str, ...], RunConfig] = {}
    for config in configs:
        if "budget" in config.settings:
            found.setdefault(tuple(parts(config.settings)), config)
    return list(found.values())
