"""Checks of the probes, the score and the matched budget of a study."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ablate.config.validation import KeyProblem
from ablate.core.suggest import did_you_mean

POOLINGS = ("mean", "mean_std", "concat_freq", "max", "summary", "attentive")
LAYER = re.compile(r"(layer[1-9]\d*|mean_layers)\.")  # before a pooling; default: the last layer
DEFAULT_PROBES: dict[str, dict[str, Any]] = {
    "knn": {"type": "ablate.probing.knn.KNN", "k": 10},
    "linear": {"type": "ablate.probing.linear.Logistic"},
}
DEFAULT_SCORE = "knn.concat_freq"


def find_probe_problems(probes: Mapping[str, Mapping[str, Any]]) -> Iterator[KeyProblem]:
    for name, probe in probes.items():
        if not re.fullmatch(r"[\w+-]+", name):
            rule = "a probe's name is made of letters, digits, `_`, `-`, `+`"
            yield KeyProblem(f"{rule}; got `{name}`", (name,))
        if "type" not in probe:
            hint = did_you_mean(name, [other for other in probes if other != name])
            message = f"probe `{name}` needs a `type`: the dotted path of a probe{hint}"
            yield KeyProblem(message, (name,))


def find_score_problems(score: str, probes: Mapping[str, Any] | None) -> Iterator[KeyProblem]:
    probe, _, view = score.partition(".")
    pooling = LAYER.sub("", view, count=1)
    rule = f"`{{key}}` must be probe.pooling, such as `{DEFAULT_SCORE}`"
    if probes is not None and probe not in probes:
        yield KeyProblem(f"{rule}; there is no probe `{probe}`{did_you_mean(probe, probes)}")
    if pooling not in POOLINGS:
        hint = did_you_mean(pooling, POOLINGS)
        yield KeyProblem(f"{rule}; there is no pooling `{pooling}`{hint}")


def find_budget_problems(resource: Any, keys: Mapping[str, Any]) -> Iterator[KeyProblem]:
    """Yields why trials cannot be matched by a resource; `keys` are the valid keys of a study."""
    if resource == "seconds":
        message = "seconds depend on what else the machine is doing; match `flops`"
        yield KeyProblem(f"`{{key}}`: {message}, and cap hours with `limits`")
    if resource is None:
        yield KeyProblem("`{key}` must be one of steps, clips, flops; got None")
    if keys.get("sweep") is not None:
        message = "the points of a `sweep` may differ in cost; leave out one of the two"
        yield KeyProblem(f"`{{key}}`: {message}")
    baseline = keys.get("baseline")
    steps = baseline.at(("budget", "steps")) if baseline is not None else None
    for name, levels in keys.get("factors", {}).items():
        for label, level in levels.items() if name in ("budget", "budget.steps") else ():
            own = level if name == "budget.steps" else level.at(("steps",))
            if own is not None and (steps is None or not own.equals(steps)):
                message = f"level `{label}` of factor `{name}` sets `budget.steps` itself"
                remedy = "leave that out, or `match_budget`"
                yield KeyProblem(f"{message}; {remedy}", place=own.place)
