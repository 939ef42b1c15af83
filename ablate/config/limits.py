"""The `limits` section of a study: what it may take, so that a slip costs nothing."""

from dataclasses import dataclass
from typing import Any

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

KEYS = ("trials", "hours", "disk_gb")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a study may take from now on; None where it does not matter."""

    trials: float | None = None  # to be trained
    hours: float | None = None  # of training, added up over all workers
    disk_gb: float | None = None  # of its run folders when all is done


def check_limits(text: Node, problems: list[str]) -> Limits:
    """Reads the section; without one there are no limits. Adds to `problems` what is wrong."""
    node = text.children.get("limits")
    if node is None:
        return Limits()
    if not node.children:
        rule = f"`limits` must hold one of {', '.join(KEYS)}"
        problems.append(f"{node.place}: {rule}; got {node.plain()!r}")
    found: dict[str, float] = {}
    for key, child in node.children.items():
        number: Any = child.value
        if key not in KEYS:
            problem = f"unknown key `{key}` of `limits`{did_you_mean(key, KEYS)}"
            problems.append(f"{child.place}: {problem}")
        elif type(number) not in (int, float) or number < 0:
            rule = f"`limits.{key}` must be a number from 0 up"
            problems.append(f"{child.place}: {rule}; got {child.plain()!r}")
        else:
            found[key] = float(number)
    return Limits(**found)
