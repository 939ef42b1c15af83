"""A cluster as its users describe it: `slurm/NAME.yaml`, checked key by key."""

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
    """What a job asks of a site, and what the site needs to be told."""

    name: str
    minutes: int = 60  # of a job; a trial that needs longer goes on in the job's next run
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""  # alternatives are written as a list, or `a100|h100`
    gpus: int = 0  # a node; of the whole job where `gpus_as` is gpus
    gpu_type: str = ""  # as the site calls it, such as a100
    gpus_as: str = "gpus_per_node"  # how the site spells it: gpus_per_node, gres or gpus
    nodes: int = 1  # of one trial
    ranks: int = 1  # processes a node that train one trial together, each on a GPU of its own
    cpus: int = 1  # of a process
    memory: str = ""  # of a node, such as 16G; the site's default where it is empty
    signal_seconds: int = 90  # how long before the limit a trial is told to stop
    parallel: int = 256  # jobs of one array at a time
    trials_per_job: int = 1  # one after another
    canary: bool = True  # whether a short job tries every combination of parts first
    max_array: int = 0  # 0 asks the site
    max_requeues: int = 50  # after so many, a job that is not done has failed
    poll_seconds: float = 10.0  # between two questions to the queue
    python: str = ""  # of the jobs; the one that submits where it is empty
    setup: list[str] = field(default_factory=list)  # shell lines before anything runs
    environment: dict[str, str] = field(default_factory=dict)  # variables that jobs are given
    sbatch: dict[str, str] = field(default_factory=dict)  # any other parameter of sbatch

    @property
    def device(self) -> str:
        """The device of a trial's processes, in torch's words."""
        if not self.gpus:
            return "cpu"
        return "cuda:0" if self.ranks == 1 else "cuda"  # of each its own

    @property
    def num_ranks(self) -> int:
        """How many processes train one trial."""
        return self.nodes * self.ranks


def load(name: str) -> Profile:
    """Reads a profile by its name, of `slurm/NAME.yaml`, or its path. Raises as `check`."""
    return check(*written(name))


def written(name: str) -> tuple[str, dict[str, Node]]:
    """Reads a profile's name and its settings, which are not checked yet.

    Raises `StudyError` where there is no such file, or no settings in it.
    """
    file = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not file.is_file():
        there = [other.stem for other in file.parent.glob("*.yaml")]
        raise StudyError([f"{file}: no such profile{did_you_mean(file.stem, there)}"])
    text = loader.read(file)
    if not isinstance(text.value, dict):
        raise StudyError([f"{text.place}: expected settings of a cluster, got {text.plain()!r}"])
    return file.stem, text.children


def check(name: str, settings: Mapping[str, Node]) -> Profile:
    """Builds a profile from its text. Raises `StudyError` with all that is wrong."""
    fields = {f.name: f for f in dataclasses.fields(Profile) if f.name != "name"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, node in settings.items():
        if key not in fields:
            problems.append(f"{node.place}: unknown key `{key}`{did_you_mean(key, fields)}")
        elif reason := _wrong(key, node.plain(), fields[key].type):
            problems.append(f"{node.place}: `{key}` {reason}; got {node.plain()!r}")
        else:
            values[key] = _value(key, node.plain())
    if not problems and 0 < values.get("gpus", 0) < values.get("ranks", 1):
        problem = (
            f"{values['ranks']} `ranks` per node need one GPU each; `gpus` is {values['gpus']}"
        )
        problems.append(f"{settings['ranks'].place}: {problem}")
    if problems:
        raise StudyError(problems)
    return Profile(name=name, **values)


def _value(key: str, value: Any) -> Any:
    if key == "constraint" and isinstance(value, list):
        return "|".join(value)
    if isinstance(value, dict):
        return {name: str(child) for name, child in value.items()}
    return value


def _wrong(key: str, value: Any, kind: Any) -> str | None:
    if key == "gpus_as":
        return None if value in GPU_SPELLINGS else f"must be one of {', '.join(GPU_SPELLINGS)}"
    if key == "memory":
        good = isinstance(value, str) and bool(re.fullmatch(r"[1-9]\d*[KMGT]", value))
        return None if good else "must be a number with a unit, such as 16G"
    if key == "constraint" and isinstance(value, list):
        return (
            None if all(isinstance(v, str) for v in value) else "must be a word or a list of words"
        )
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if kind is int or kind is float:
        least = 0 if key in ("gpus", "max_array", "max_requeues") else 1 if kind is int else 0.1
        good = type(value) in (int, kind) and value >= least
        return None if good else f"must be a number from {least} up"
    if kind == list[str]:
        good = isinstance(value, list) and all(isinstance(line, str) for line in value)
        return None if good else "must be a list of lines"
    if kind == dict[str, str]:
        return None if isinstance(value, dict) else "must map names to values"
    return None if isinstance(value, str) else "must be a word; put it in quotes"
