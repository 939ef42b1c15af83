"""What a sweep may tune: ranges, choices, and parts that have settings of their own to tune.

Knows no Optuna: a point is drawn by whoever answers `suggest`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ablate.config.tree import Node, set_path, to_yaml_scalar
from ablate.core.suggest import did_you_mean

RANGE_KEYS = ("low", "high", "log")
INNER = "space"  # in a choice: what to tune of this part, by the names of its settings


@dataclass(frozen=True)
class Range:
    """A number between two others, both included; whole where both are written whole."""

    low: float
    high: float
    log: bool  # drawn evenly over its logarithm
    node: Node  # as it is written

    @property
    def integer(self) -> bool:
        """Says whether only whole numbers are drawn."""
        return type(self.low) is int and type(self.high) is int


@dataclass(frozen=True)
class Choice:
    """One of several values or parts, by label, each with a space of its own."""

    options: dict[str, Node]
    node: Node
    inner: dict[str, "Space"] = field(default_factory=dict)


Dimension = Range | Choice
Space = dict[str, Dimension]  # dotted path -> what it may be
Suggest = Callable[[str, Dimension], Any]  # a parameter's name -> a number, or a choice's label
Change = tuple[tuple[str, ...], Node]


@dataclass(frozen=True)
class Point:
    """What a search gave to try: parameters, and the settings that they change."""

    number: int  # from 0, within its search
    params: dict[str, Any]  # name -> a number, or a choice's label
    changes: list[Change]
    distributions: dict[str, str]  # as the sampler writes them, for a storage that is rebuilt


@dataclass(frozen=True)
class Tried:
    """A point whose end is known."""

    number: int
    params: Mapping[str, Any]
    values: tuple[float, ...] | None  # one an objective; None where it failed or was pruned
    reason: str | None = None  # why there are none
    facts: Mapping[str, Any] = field(default_factory=dict)  # its runs, their health and cost


def read(node: Node, name: str, problems: list[str]) -> Space:
    """Reads a space; what is wrong is added to `problems`, and left out.

    `name` is where it stands, `sweep.space`.
    """
    if not isinstance(node.value, dict) or not node.value:
        rule = f"`{name}` must map settings to ranges or choices"
        problems.append(f"{node.place}: {rule}; got {node.plain()!r}")
    found: Space = {}
    for key, child in node.children.items():
        dimension = _dimension(child, f"{name}.{key}", problems)
        if dimension is not None:
            found[key] = dimension
    for key in found:
        outer = [other for other in found if key.startswith(f"{other}.")]
        if outer:
            problem = f"`{name}.{key}` lies inside `{outer[0]}`; write it as its `{INNER}`"
            problems.append(f"{found[key].node.place}: {problem}")
    return found


def draw(space: Mapping[str, Dimension], suggest: Suggest) -> list[Change]:
    """Asks `suggest` for every setting of a point; returns what changes, outer parts first."""
    return list(_drawn(space, suggest, prefix="", within=()))


def applied(tree: Node, changes: Iterable[Change]) -> Node:
    """Returns a trial's settings with a point's values in them.

    Raises `ValueError` where one lies inside a value that has no settings.
    """
    for path, value in changes:
        tree = set_path(tree, path, value)
    return tree


def edges(space: Mapping[str, Dimension]) -> Iterator[tuple[str, list[Change]]]:
    """Yields the fewest points that show whether a space fits, each with its setting's name.

    One setting is changed in each: to an end of its range, or to one of its choices.
    """
    for key, dimension in space.items():
        path = tuple(key.split("."))
        if isinstance(dimension, Range):
            for end in (dimension.low, dimension.high):
                yield key, [(path, Node(end, dimension.node.place))]
            continue
        for label, option in dimension.options.items():
            alone: list[Change] = [(path, option)]
            yield key, alone
            for inner, changes in edges(dimension.inner.get(label, {})):
                placed = [((*path, *below), value) for below, value in changes]
                yield f"{key}[{label}].{inner}", [*alone, *placed]


def size(space: Mapping[str, Dimension]) -> int | None:
    """Counts the different points of a space; None where a range is of real numbers."""
    total = 1
    for dimension in space.values():
        if isinstance(dimension, Range):
            if not dimension.integer:
                return None
            total *= int(dimension.high) - int(dimension.low) + 1
            continue
        inner = [size(dimension.inner.get(label, {})) for label in dimension.options]
        known = [count for count in inner if count is not None]
        if len(known) < len(inner):
            return None
        total *= sum(known)
    return total


def every(space: Mapping[str, Dimension], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yields the parameters of each point of a space that has a `size`."""
    values = (_values(f"{prefix}{key}", dimension) for key, dimension in space.items())
    for parts in itertools.product(*map(list, values)):
        yield {name: value for part in parts for name, value in part.items()}


def _values(name: str, dimension: Dimension) -> Iterator[dict[str, Any]]:
    if isinstance(dimension, Range):
        yield from ({name: n} for n in range(int(dimension.low), int(dimension.high) + 1))
        return
    for label in dimension.options:
        for below in every(dimension.inner.get(label, {}), f"{name}[{label}]."):
            yield {name: label, **below}


def written(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Returns a space as it was written, as plain data."""
    return {key: dimension.node.plain() for key, dimension in space.items()}


def _drawn(
    space: Mapping[str, Dimension], suggest: Suggest, *, prefix: str, within: tuple[str, ...]
) -> Iterator[Change]:
    for key, dimension in space.items():
        path, value = (*within, *key.split(".")), suggest(f"{prefix}{key}", dimension)
        if isinstance(dimension, Range):
            yield path, Node(value, dimension.node.place)
        else:
            yield path, dimension.options[value]
            inner = dimension.inner.get(value, {})
            yield from _drawn(inner, suggest, prefix=f"{prefix}{key}[{value}].", within=path)


def _dimension(node: Node, name: str, problems: list[str]) -> Dimension | None:
    if isinstance(node.value, dict) and {"low", "high"} & set(node.value):
        return _range(node, name, problems)
    if isinstance(node.value, dict) and node.value:
        return _parts(node, name, problems)
    if isinstance(node.value, list) and node.value:
        plain = [child for child in node.value if not isinstance(child.value, dict | list)]
        options = {to_yaml_scalar(child.value): child for child in plain}
        if len(options) == len(node.value):
            return Choice(options, node)
    rule = "needs `low` and `high`, a list of different plain values, or `label: settings` of each"
    problems.append(f"{node.place}: `{name}` {rule}; got {node.plain()!r}")
    return None


def _range(node: Node, name: str, problems: list[str]) -> Range | None:
    before = len(problems)
    for key, child in node.children.items():
        if key not in RANGE_KEYS:
            problem = f"unknown key `{key}` of `{name}`{did_you_mean(key, RANGE_KEYS)}"
            problems.append(f"{child.place}: {problem}")
    ends: list[Any] = [node.children[key].value for key in ("low", "high") if key in node.children]
    if len(ends) < 2 or any(type(end) not in (int, float) for end in ends):
        problems.append(f"{node.place}: `{name}` needs two numbers, `low` and `high`; got {ends}")
        return None
    low, high = ends
    if type(low) is not type(high):
        low, high = float(low), float(high)
    log: Any = node.children["log"].value if "log" in node.children else False
    if type(log) is not bool:
        problems.append(f"{node.place}: `{name}.log` must be true or false; got {log!r}")
    if low >= high:
        problems.append(f"{node.place}: `{name}` has low {low} and high {high}; low must be less")
    elif log is True and low <= 0:
        problems.append(f"{node.place}: `{name}` is logarithmic, so `low` must be above 0")
    return Range(low, high, log is True, node) if len(problems) == before else None


def _parts(node: Node, name: str, problems: list[str]) -> Choice:
    options: dict[str, Node] = {}
    inner: dict[str, Space] = {}
    for label, child in node.children.items():
        own = {key: value for key, value in child.children.items() if key != INNER}
        options[label] = Node(own, child.place) if child.children else child
        if INNER in child.children:
            inner[label] = read(child.children[INNER], f"{name}.{label}.{INNER}", problems)
    return Choice(options, node, inner)
