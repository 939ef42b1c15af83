"""What a study may say: its keys, and what each of them must hold."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ablate.config.budget import check_match_budget
from ablate.config.confirm import Confirm, check_confirm
from ablate.config.design import KEYS as DESIGN_KEYS
from ablate.config.design import Design, check_design
from ablate.config.evaluate import Evaluate, check_evaluate
from ablate.config.factors import check_factors
from ablate.config.limits import Limits, check_limits
from ablate.config.notes import check_notes
from ablate.config.sections import Growth, check_seeds
from ablate.config.sweep import Sweep, check_sweep
from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

KEYS = (
    "study",
    "baseline",
    "factors",
    *DESIGN_KEYS,
    "match_budget",
    "sweep",
    "seeds",
    "confirm",
    "probes",
    "tasks",
    "score",
    "evaluate",
    "report",
    "notes",
    "limits",
    "slurm",
)
SETTINGS = (  # what a trial is made of; the seed is added to each
    "data",
    "mel",
    "crop_frames",
    "crop_seconds",  # instead of `crop_frames`
    "patchifier",
    "masker",
    "encoder",
    "predictor",
    "target",
    "objective",
    "regulariser",
    "budget",
    "optimizer",
    "batching",
    "on_collapse",
)
POOLINGS = ("mean", "mean_std", "concat_freq", "max", "summary", "attentive")
LAYER = re.compile(r"(layer[1-9]\d*|mean_layers)\.")  # before a pooling; else the last one
DEFAULT_PROBES = {
    "knn": {"type": "ablate.probing.knn.KNN", "k": 10},
    "linear": {"type": "ablate.probing.linear.Logistic"},
}
DEFAULT_SCORE = "knn.concat_freq"


class StudyError(ValueError):
    """A study that cannot be run. `problems` lists all that is wrong with it, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True, kw_only=True)
class Report:
    """How the report decides."""

    equivalence_margin: float = 2.0  # points; levels shown to differ by less are equivalent
    alpha: float = 0.05  # chance of a wrong word, over the family of contrasts


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study file asks for. Its values have been checked as text; no part is built yet."""

    name: str
    file: Path
    overrides: tuple[str, ...]
    baseline: Node
    factors: dict[str, dict[str, Node]]  # dotted path into the baseline -> label -> branch
    seeds: tuple[int, ...]  # all that there may be
    probes: dict[str, dict[str, Any]]
    score: str  # probe.pooling, or probe.layer3.pooling
    report: Report
    tree: Node  # all of it, for the places of its values
    design: Design = field(default_factory=Design)  # which combinations of levels there are
    title: str = ""  # the first line of the file's first comment
    source: str = ""  # the file as it is, with the overrides behind it
    limits: Limits = field(default_factory=Limits)  # the most that it may take
    match_budget: str | None = None  # what trials take up as much of as the baseline does
    growth: Growth | None = None  # how many of the seeds at each look; None: all, and one look
    sweep: Sweep | None = None  # what is tuned before the seeds are trained
    evaluate: Evaluate | None = None  # how trainings are looked at on their way
    confirm: Confirm | None = None  # what is trained again, on fresh seeds, once it has led
    notes: dict[str, str] = field(default_factory=dict)  # what levels mean, for readers

    @property
    def every_seed(self) -> tuple[int, ...]:
        """Returns all seeds that a trial may have, the fresh ones of a confirmation last."""
        return (*self.seeds, *(self.confirm.seeds if self.confirm else ()))


def check(text: Node, file: Path, overrides: tuple[str, ...], problems: list[str]) -> Study:
    """Reads the study out of its text; adds what is wrong to `problems`, with its place."""
    for key, child in text.children.items():
        if key not in KEYS:
            problems.append(f"{child.place}: unknown key `{key}`{did_you_mean(key, KEYS)}")
    probes = _probes(text, problems)
    factors = dict(check_factors(text, SETTINGS, probes, problems))
    seeds, growth = check_seeds(text, problems)
    sweep = _sweep(text, factors, seeds, problems)
    usual = Node(DEFAULT_SCORE, f"{text.place}: `score` is missing")
    score_of = partial(_score, probes=probes, problems=problems)
    score = score_of(text.children.get("score", usual))
    return Study(
        name=_name(text, problems),
        file=file,
        overrides=overrides,
        baseline=_baseline(text, problems),
        factors=factors,
        seeds=seeds,
        probes=probes,
        score=score,
        evaluate=check_evaluate(text, score, score_of, problems),
        report=_report(text, problems),
        tree=text,
        design=check_design(text, factors, problems),
        limits=_limits(text, problems),
        match_budget=check_match_budget(text, factors, problems),
        growth=growth,
        sweep=sweep,
        notes=check_notes(text, factors, problems),
        confirm=check_confirm(text, (*seeds, *(sweep.seeds if sweep else ())), problems),
    )


def _name(text: Node, problems: list[str]) -> str:
    node = text.children.get("study")
    if node is None:
        problems.append(f"{text.place}: `study` is missing: the name of the report's folder")
        return ""
    if not (isinstance(node.value, str) and re.fullmatch(r"\w[\w.+-]*", node.value)):
        rule = "`study` must be a name of letters, digits, `_`, `-`, `+`, `.`"
        problems.append(f"{node.place}: {rule}; got {node.plain()!r}")
    return str(node.value)


def _baseline(text: Node, problems: list[str]) -> Node:
    node = text.children.get("baseline")
    if node is None or not node.children:
        place = (node or text).place
        problems.append(f"{place}: `baseline` is missing: the settings that all trials share")
        return Node({}, place)
    for key, child in node.children.items():
        if key == "seed":
            problem = "`seed` is not a setting of the baseline; write `seeds` in the study"
            problems.append(f"{child.place}: {problem}")
        elif key not in SETTINGS:
            problem = f"unknown key `{key}` of `baseline`{did_you_mean(key, SETTINGS)}"
            problems.append(f"{child.place}: {problem}")
    return node


def _sweep(
    text: Node,
    factors: dict[str, dict[str, Node]],
    seeds: tuple[int, ...],
    problems: list[str],
) -> Sweep | None:
    node = text.children.get("sweep")
    if node is None:
        return None
    sweep = check_sweep(node, factors, seeds, problems)
    for space in (sweep.space, *sweep.only.values()):
        for key, dimension in space.items():
            if key.split(".")[0] not in SETTINGS:
                problem = f"`{key}` is not a setting of a trial"
                known = did_you_mean(key.split(".")[0], SETTINGS)
                problems.append(f"{dimension.node.place}: {problem}{known}")
    return sweep


def _probes(text: Node, problems: list[str]) -> dict[str, dict[str, Any]]:
    """Reads the probes; `tasks` of the study are those of each probe that names none itself."""
    node, tasks = text.children["probes"], None
    if "tasks" in text.children:
        tasks = text.children["tasks"].plain()
    if not node.children:
        rule = "`probes` must map names to settings with a `type`"
        problems.append(f"{node.place}: {rule}; got {node.plain()!r}")
    for name, probe in node.children.items():
        if not re.fullmatch(r"[\w+-]+", name):
            rule = "a probe's name is made of letters, digits, `_`, `-`, `+`"
            problems.append(f"{probe.place}: {rule}; got `{name}`")
        if "type" not in probe.children:
            known = did_you_mean(name, [other for other in node.children if other != name])
            problem = f"probe `{name}` needs a `type`: the dotted path of a probe{known}"
            problems.append(f"{probe.place}: {problem}")
    settings: dict[str, dict[str, Any]] = {n: probe.plain() for n, probe in node.children.items()}
    return settings if tasks is None else {n: {"tasks": tasks, **s} for n, s in settings.items()}


def _limits(text: Node, problems: list[str]) -> Limits:
    if "limits" in text.children and "sweep" in text.children:
        problem = (
            "`limits` does not apply to a sweep's points; use `sweep.trials` and `sweep.minutes`"
        )
        problems.append(f"{text.children['limits'].place}: {problem}")
    return check_limits(text, problems)


def _score(node: Node, probes: dict[str, Any], problems: list[str]) -> str:
    probe, _, view = str(node.value).partition(".")
    pooling = LAYER.sub("", view, count=1)
    rule = f"`score` must be probe.pooling, such as `{DEFAULT_SCORE}`"
    if probe not in probes:
        problem = f"there is no probe `{probe}`{did_you_mean(probe, probes)}"
        problems.append(f"{node.place}: {rule}; {problem}")
    if pooling not in POOLINGS:
        problem = f"there is no pooling `{pooling}`{did_you_mean(pooling, POOLINGS)}"
        problems.append(f"{node.place}: {rule}; {problem}")
    return str(node.value)


def _report(text: Node, problems: list[str]) -> Report:
    node = text.children.get("report", Node({}, text.place))
    if not isinstance(node.value, dict):
        problems.append(f"{node.place}: `report` must hold settings; got {node.plain()!r}")
    bounds = {"equivalence_margin": (0.0, 100.0), "alpha": (0.0, 0.5)}
    values: dict[str, float] = {}
    for key, child in node.children.items():
        number: Any = child.value
        if key not in bounds:
            problem = f"unknown key `{key}` of `report`{did_you_mean(key, bounds)}"
            problems.append(f"{child.place}: {problem}")
        elif type(number) not in (int, float) or not bounds[key][0] < number < bounds[key][1]:
            low, high = bounds[key]
            rule = f"`report.{key}` must lie between {low:g} and {high:g}"
            problems.append(f"{child.place}: {rule}; got {number!r}")
        else:
            values[key] = float(number)
    return Report(**values)
