"""The `evaluate` section of a study: how encoders are scored while they are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

COUNTS = {"every": "steps", "clips": "clips"}
KEYS = (*COUNTS, "score")
EXAMPLE = "`evaluate: {every: 500}`"


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """A score of the encoder before training, every so many steps, and at the end.

    It changes and ends no training, whatever `on_collapse` says, and is no part of a trial's
    fingerprint. A score below the random init's is a warning, and marks the run as collapsed for
    every study that shares it.
    """

    every: int  # steps
    score: str  # probe.pooling, on validation clips
    clips: int = 100  # of each task, at most, that a probe learns from; as many that it is asked of


def check_evaluate(
    text: Node, score: str, score_of: Callable[[Node], str], problems: list[str]
) -> Evaluate | None:
    """Reads the section; None where there is none. What is wrong is added to `problems`.

    `score` is the study's, and the default; `score_of` reads another.
    """
    node = text.children.get("evaluate")
    if node is None:
        return None
    if "every" not in node.children:
        problem = f"`evaluate` needs `every`, a number of steps, as in {EXAMPLE}"
        problems.append(f"{node.place}: {problem}; got {node.plain()!r}")
    found: dict[str, Any] = {"every": 1, "score": score}
    for key, child in node.children.items():
        count: Any = child.value
        if key not in KEYS:
            problem = f"unknown key `{key}` of `evaluate`{did_you_mean(key, KEYS)}"
            problems.append(f"{child.place}: {problem}")
        elif key == "score":
            found[key] = score_of(child)
        elif type(count) is not int or count < 1:
            rule = f"`evaluate.{key}` must be a number of {COUNTS[key]} from 1 up"
            problems.append(f"{child.place}: {rule}; got {child.plain()!r}")
        else:
            found[key] = count
    return Evaluate(**found)
