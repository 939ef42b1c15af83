"""The `confirm` section of a study: what led is trained again, on seeds that did not choose it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

LEAST = {"top": 1, "seeds": 2}  # one seed has no spread
EXAMPLE = "`confirm: {top: 2, seeds: 5}`"


@dataclass(frozen=True, kw_only=True)
class Confirm:
    """How many variants are confirmed beside the baseline, and on which seeds."""

    top: int  # variants, the best by validation score
    seeds: tuple[int, ...]  # no other trial of the study has one of them


def check_confirm(text: Node, taken: Collection[int], problems: list[str]) -> Confirm | None:
    """Reads the section; None where there is none, or it is wrong, which `problems` then tells.

    The seeds follow the highest of those `taken`.
    """
    node = text.children.get("confirm")
    if node is None:
        return None
    before = len(problems)
    for key, child in node.children.items():
        count: Any = child.value
        if key not in LEAST:
            problem = f"unknown key `{key}` of `confirm`{did_you_mean(key, LEAST)}"
            problems.append(f"{child.place}: {problem}")
        elif type(count) is not int or count < LEAST[key]:
            rule = f"`confirm.{key}` must be a count from {LEAST[key]} up"
            problems.append(f"{child.place}: {rule}; got {child.plain()!r}")
    if missing := [key for key in LEAST if key not in node.children]:
        problem = f"`confirm` needs {' and '.join(missing)}, as in {EXAMPLE}"
        problems.append(f"{node.place}: {problem}; got {node.plain()!r}")
    if not {"factors", "sweep"} & text.children.keys():
        problem = "`confirm` has nothing to choose from: the study has no `factors`"
        problems.append(f"{node.place}: {problem}")
    if len(problems) > before:
        return None
    found, first = node.plain(), max(taken, default=-1) + 1
    return Confirm(top=found["top"], seeds=tuple(range(first, first + found["seeds"])))
