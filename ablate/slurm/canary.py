"""Writes and prepares the canary: a job with a short trial of every combination of parts.

The array of all trials starts only once its canary has succeeded. A trial of the canary trains a
few steps, is signalled to stop, saves, resumes, and is probed.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.records.jobs import JobSpec
from ablate.core.records.planning import PlanRequest
from ablate.core.records.run import RunConfig
from ablate.executors import short_trials
from ablate.executors.worker import InvalidRequestError, Worker, WorkerDiedError

MAX_STEPS = 12
FAILURE_FILE = "failure.json"  # why it could not be planned, or how SLURM ended it


def get_canary_name(array: str, folder: Path) -> str:
    """Returns the unique name of a canary's job.

    Args:
        array: name of an array that depends on it.
        folder: folder of the canary.
    """
    submission = array.rsplit("-", 2)[0]
    return f"{submission}-{folder.name}"


def write_canary(file: Path, configs: Sequence[RunConfig], spec: JobSpec) -> None:
    """Writes the specification of a canary job: a short trial of each combination of parts.

    Args:
        file: the specification.
        configs: configurations of the array's runs.
        spec: specification of the array's jobs.
    """
    trials = []
    for config in select_distinct(configs):
        steps = min(MAX_STEPS, config.settings["budget"]["steps"])
        trials.append(short_trials.shorten(config.settings, steps))
    (file.parent / "logs").mkdir(parents=True)
    replace(spec, canary=trials).write(file)


def prepare(home: Path, trials: Sequence[Mapping[str, Any]], cache: str) -> list[str]:
    """Validates a canary's trials and creates their run folders in `home`; returns their paths.

    Raises `ValueError` if a trial cannot be built or the worker process dies.
    """
    worker = Worker([sys.executable, "-P", "-m", "ablate.worker", "--worker", "--cache", cache])
    try:
        request = PlanRequest(trials=tuple(map(dict, trials)))
        resolved = short_trials.resolve(worker.plan, request)
    except InvalidRequestError as error:
        raise ValueError(str(error)) from error
    except WorkerDiedError as error:
        raise ValueError(f"a worker could not plan the canary: {error}") from error
    finally:
        worker.shutdown(at_once=False)
        worker.finish()
        worker.close()
    return [str(short_trials.create_run_folder(home, trial)) for trial in resolved]


def select_distinct(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """Returns the first training of each combination of parts, without references."""
    trainings = [config for config in configs if "budget" in config.settings]
    firsts = short_trials.select_by_parts(config.settings for config in trainings)
    return [trainings[index] for index in firsts.values()]
