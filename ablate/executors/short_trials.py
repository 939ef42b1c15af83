"""Shortens trials, so that every combination of parts is tried before the trials themselves run.

Used by `ablate plan --time`, which measures what a study costs, and by the canary job of SLURM.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from ablate.core.nested import find_parts
from ablate.core.records.plan import Settings
from ablate.core.records.planning import PlanReply, PlanRequest, ResolvedTrial
from ablate.executors.worker import InvalidRequestError
from ablate.runs import store


def select_by_parts(settings: Iterable[Settings]) -> dict[tuple[str, ...], int]:
    """Returns, for each combination of parts, the index of the first settings that have it."""
    first: dict[tuple[str, ...], int] = {}
    for index, trial in enumerate(settings):
        first.setdefault(tuple(find_parts(trial)), index)
    return first


def shorten(settings: Settings, steps: int) -> Settings:
    """Returns the settings of a trial with another number of steps; no collapse stops it."""
    return {**settings, "budget": {**settings["budget"], "steps": steps}, "on_collapse": "warn"}


def resolve(plan: Callable[[PlanRequest], PlanReply], request: PlanRequest) -> list[ResolvedTrial]:
    """Has a worker resolve trials. Raises `InvalidRequestError` with all problems."""
    reply = plan(request)
    if reply.all_problems:
        raise InvalidRequestError(reply.all_problems)
    return reply.get_resolved()


def create_run_folder(parent: Path, trial: ResolvedTrial) -> Path:
    """Creates the run folder of a trial in the folder `parent`, and returns it."""
    folder = parent / trial.fingerprint
    store.write_config(folder, kind=trial.kind, settings=trial.settings)
    return folder
