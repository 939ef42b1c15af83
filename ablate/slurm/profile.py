"""Reads and validates cluster profiles, `slurm/NAME.yaml`."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

FOLDER = Path("slurm")
GPU_SPELLINGS = ("gpus_per_node", "gres", "gpus")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The resources of a job, and how to request them from a cluster."""

    name: str
    minutes: int = 60  # per job; a trial that needs longer continues when its job is requeued
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""  # alternatives as a list, or as `a100|h100`
    gpus: int = 0  # per node; per job if `gpus_as` is `gpus`
    gpu_type: str = ""  # the cluster's name for it, such as a100
    gpus_as: str = "gpus_per_node"  # option that requests them: gpus_per_node, gres or gpus
    nodes: int = 1  # per trial
    ranks: int = 1  # processes per node that train one trial together, each on its own GPU
    cpus: int = 1  # per process
    memory: str = ""  # per node and trial that runs there, as 16G; the cluster's default if empty
    signal_seconds: int = 90  # how long before the time limit a trial is signalled to stop
    parallel: int = 256  # tasks of one array that run at once
    trials_per_job: int = 1
    trials_at_once: int = 1  # side by side in one job, whose GPU they share
    canary: bool = True  # first try every combination of parts in a short job
    max_array: int = 0  # tasks per array; 0 for the cluster's limit
    max_requeues: int = 50  # a job that is still not done after so many has failed
    poll_seconds: float = 10.0  # between two queries of the queue
    python: str = ""  # interpreter of the jobs; the current one if empty
    setup: list[str] = field(default_factory=list)  # shell lines to run first
    environment: dict[str, str] = field(default_factory=dict)  # environment variables
    sbatch: dict[str, str] = field(default_factory=dict)  # other options of sbatch

    @property
    def device(self) -> str:
        """The torch device of a trial's processes."""
        if not self.gpus:
            return "cpu"
        return "cuda:0" if self.ranks == 1 else "cuda"  # each rank chooses its own

    @property
    def cpus_per_task(self) -> int:
        """The number of CPUs of each task of a job: one process, or the trials side by side."""
        return self.cpus * self.trials_at_once

    @property
    def memory_per_node(self) -> str:
        """The memory of a job on each node, for all trials that run side by side."""
        if not self.memory:
            return ""
        return f"{int(self.memory[:-1]) * self.trials_at_once}{self.memory[-1]}"

    @property
    def num_ranks(self) -> int:
        """The number of processes that train one trial."""
        return self.nodes * self.ranks


def load_profile(name: str) -> Profile:
    """Reads and validates the profile `slurm/NAME.yaml`, or the one at a path.

    Raises `StudyError` with all problems.
    """
    return build_profile(*read_settings(name))


def read_settings(name: str) -> tuple[str, dict[str, Node]]:
    """Reads the name and the settings of a profile without validating the settings.

    Raises `StudyError` if the file is missing or holds no settings.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not file.is_file():
        names = [other.stem for other in file.parent.glob("*.yaml")]
        hint = did_you_mean(file.stem, names) or (
            f"; `ablate init {file} --from slurm/gpu` writes one to fill in"
        )
        raise StudyError([f"{file}: no such profile{hint}"])
    tree = loader.read(file)
    if not isinstance(tree.value, dict):
        raise StudyError([f"{tree.place}: expected settings of a cluster, got {tree.plain()!r}"])
    return file.stem, tree.children


def build_profile(name: str, settings: Mapping[str, Node]) -> Profile:
    """Builds a profile from its settings. Raises `StudyError` with all problems."""
    fields = {f.name: f for f in dataclasses.fields(Profile) if f.name != "name"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, node in settings.items():
        if key not in fields:
            problems.append(f"{node.place}: unknown key `{key}`{did_you_mean(key, fields)}")
        elif problem := _find_problem(key, node.plain(), fields[key].type):
            problems.append(f"{node.place}: `{key}` {problem}; got {node.plain()!r}")
        else:
            values[key] = _convert(key, node.plain())
    if not problems and 0 < values.get("gpus", 0) < values.get("ranks", 1):
        problem = (
            f"{values['ranks']} `ranks` per node need one GPU each; `gpus` is {values['gpus']}"
        )
        problems.append(f"{settings['ranks'].place}: {problem}")
    if not problems and (problem := _find_sharing_problem(values)):
        problems.append(f"{settings['trials_at_once'].place}: {problem}")
    if problems:
        raise StudyError(problems)
    return Profile(name=name, **values)


def _find_sharing_problem(values: Mapping[str, Any]) -> str | None:
    at_once, per_job = values.get("trials_at_once", 1), values.get("trials_per_job", 1)
    if at_once > per_job:
        return f"{at_once} `trials_at_once` need as many `trials_per_job`; got {per_job}"
    if at_once > 1 and max(values.get("ranks", 1), values.get("nodes", 1)) > 1:
        return "`trials_at_once` is for trials of one process; leave `ranks` and `nodes` at 1"
    return None


def _convert(key: str, value: Any) -> Any:
    if key == "constraint" and isinstance(value, list):
        return "|".join(value)
    if isinstance(value, dict):
        return {name: str(child) for name, child in value.items()}
    return value


def _find_problem(key: str, value: Any, kind: Any) -> str | None:
    if key == "gpus_as":
        return None if value in GPU_SPELLINGS else f"must be one of {', '.join(GPU_SPELLINGS)}"
    if key == "memory":
        is_valid = isinstance(value, str) and bool(re.fullmatch(r"[1-9]\d*[KMGT]", value))
        return None if is_valid else "must be a number with a unit, such as 16G"
    if key == "constraint" and isinstance(value, list):
        return (
            None if all(isinstance(v, str) for v in value) else "must be a word or a list of words"
        )
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if kind is int or kind is float:
        minimum = 0 if key in ("gpus", "max_array", "max_requeues") else 1 if kind is int else 0.1
        is_valid = type(value) in (int, kind) and value >= minimum
        return None if is_valid else f"must be a number from {minimum} up"
    if kind == list[str]:
        is_valid = isinstance(value, list) and all(isinstance(line, str) for line in value)
        return None if is_valid else "must be a list of lines"
    if kind == dict[str, str]:
        return None if isinstance(value, dict) else "must map names to values"
    return None if isinstance(value, str) else "must be a word; put it in quotes"
