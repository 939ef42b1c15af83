"""The `seeds` of a study: fixed, or as many as it takes, which is said before the first look."""

from dataclasses import dataclass
from typing import Any

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

KEYS = ("start", "max", "step")
NEEDED = {"start": "the seeds at the first look", "max": "the most there may be"}
RULE = (
    "must be a count from 1 up, `{start: 3, max: 8}` to add some while a contrast is undecided, "
    "or a list of different integers from 0 up"
)


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How many seeds there are at each look, as long as there is something undecided."""

    start: int  # seeds at the first look
    most: int
    step: int = 2  # more seeds a look; each look has a share of the error: one by one, a small one

    def after(self, count: int) -> int | None:
        """Returns the seeds at the look after that with `count`; None after the last."""
        return min(count + self.step, self.most) if count < self.most else None


def check_seeds(text: Node, problems: list[str]) -> tuple[tuple[int, ...], Growth | None]:
    """Reads the seeds: all that there may be, and how they grow, None where they are fixed.

    What is wrong is added to `problems`, and there are no seeds then.
    """
    node = text.children.get("seeds")
    if node is None:
        problems.append(f"{text.place}: `seeds` is missing: how many per variant, e.g. `seeds: 3`")
        return (), None
    if node.children:
        growth = _growth(node, problems)
        return tuple(range(growth.most)) if growth else (), growth
    value = node.plain()
    seeds = list(range(value)) if type(value) is int else value
    good = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not good or not seeds or len(set(seeds)) < len(seeds):
        problems.append(f"{node.place}: `seeds` {RULE}; got {value!r}")
        return (), None
    return tuple(seeds), None


def _growth(node: Node, problems: list[str]) -> Growth | None:
    found: dict[str, int] = {}
    before = len(problems)
    for key, child in node.children.items():
        count: Any = child.value
        if key not in KEYS:
            problem = f"unknown key `{key}` of `seeds`{did_you_mean(key, KEYS)}"
            problems.append(f"{child.place}: {problem}")
        elif type(count) is not int or count < 1:
            rule = f"`seeds.{key}` must be a count from 1 up"
            problems.append(f"{child.place}: {rule}; got {child.plain()!r}")
        else:
            found[key] = count
    problems += [
        f"{node.place}: `seeds.{key}` is missing: {what}; got {node.plain()!r}"
        for key, what in NEEDED.items()
        if key not in node.children
    ]
    if len(problems) > before:
        return None
    growth = Growth(start=found["start"], most=found["max"], step=found.get("step", Growth.step))
    if growth.start >= growth.most:
        rule = "`seeds.max` must be more than `seeds.start`, or there is nothing to add"
        problems.append(
            f"{node.children['max'].place}: {rule}; got {growth.most} and {growth.start}"
        )
    return growth
