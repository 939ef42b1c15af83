"""The search space of a sweep: ranges, choices, and choices between parts with spaces of their own.

Independent of Optuna: points are drawn by a `suggest` function that the caller passes.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationError, model_validator

from ablate.config.tree import Node, Path, set_path, to_yaml_scalar
from ablate.config.validation import (
    KeyProblem,
    Scalar,
    SectionError,
    StudySection,
    list_problems,
    raise_any,
    require,
)

INNER = "space"  # key in a choice: the space of that part, by the names of its settings
Number = Annotated[int | float, require("must be a number")]


class RangeKeys(StudySection):
    """The keys of a range, as written in a study."""

    low: Number = Field(description="smallest value, included")
    high: Number = Field(description="largest value, included")
    log: Annotated[bool, require("must be true or false")] = Field(
        default=False, description="whether values are drawn uniformly over their logarithm"
    )

    @model_validator(mode="after")
    def _check_order(self) -> "RangeKeys":
        if self.low >= self.high:
            bounds = f"has low {self.low} and high {self.high}"
            raise_any([KeyProblem(f"`{{key}}` {bounds}; low must be less")])
        if self.log and self.low <= 0:
            raise_any([KeyProblem("`{key}` is logarithmic, so `low` must be above 0")])
        return self


@dataclass(frozen=True)
class Range:
    """A number between two bounds, both included; an integer if both are written as integers."""

    low: float
    high: float
    log: bool  # whether values are drawn uniformly over their logarithm
    node: Node  # as written

    @property
    def integer(self) -> bool:
        """Whether only integers are drawn."""
        return type(self.low) is int and type(self.high) is int


@dataclass(frozen=True)
class Choice:
    """One of several values or parts, by label; a part may have a space of its own."""

    options: dict[str, Node]
    node: Node  # as written
    inner: dict[str, "Space"] = field(default_factory=dict)  # label -> space of that part


Dimension = Range | Choice
Space = dict[str, Dimension]  # dotted path of a setting -> the values it may take
Suggest = Callable[[str, Dimension], Any]  # name of a parameter -> a number, or a choice's label
Change = tuple[Path, Node]


@dataclass(frozen=True)
class Point:
    """One configuration that a search suggests."""

    number: int  # from 0, within its search
    params: dict[str, Any]  # name of a parameter -> a number, or a choice's label
    changes: list[Change]  # settings that the parameters change
    distributions: dict[str, str]  # as the sampler writes them, to rebuild a lost storage


@dataclass(frozen=True)
class FinishedPoint:
    """A point that has been evaluated, has failed or was pruned."""

    number: int
    params: Mapping[str, Any]
    values: tuple[float, ...] | None  # one per objective; None if it failed or was pruned
    reason: str | None = None  # why there are no values
    facts: Mapping[str, Any] = field(default_factory=dict)  # its runs, their health and cost


def read_space(node: Node) -> Space:
    """Reads a space. Raises `SectionError` with all mistakes in it, and where they were written."""
    if not isinstance(node.value, dict) or not node.value:
        rule = "`{key}` must map settings to ranges or choices"
        raise_any([KeyProblem(f"{rule}; got {node.plain()!r}", place=node.place)])
    problems: list[KeyProblem] = []
    space: Space = {}
    for key, child in node.children.items():
        try:
            space[key] = _read_dimension(child, key)
        except SectionError as error:
            problems += error.problems
    for key in node.children:
        outer = [other for other in node.children if key.startswith(f"{other}.")]
        if outer:
            message = f"`{{key}}` lies inside `{outer[0]}`; write it as its `{INNER}`"
            problems.append(KeyProblem(message, (key,), place=node.children[key].place))
    raise_any(problems)
    return space


def _space_of(value: Any) -> Space:
    if isinstance(value, Node):
        return read_space(value)
    space: Space = value
    return space


SpaceKeys = Annotated[
    Space,
    PlainValidator(
        _space_of, json_schema_input_type=dict[str, RangeKeys | list[Scalar] | dict[str, Any]]
    ),
]


def draw(space: Mapping[str, Dimension], suggest: Suggest) -> list[Change]:
    """Draws a value for every setting with `suggest`; returns the changes, outer parts first."""
    return list(_draw(space, suggest, prefix="", outer=()))


def apply_changes(tree: Node, changes: Iterable[Change]) -> Node:
    """Returns a trial's settings with the values of a point.

    Raises `ValueError` if a setting lies inside a value that is not a mapping.
    """
    for path, value in changes:
        tree = set_path(tree, path, value)
    return tree


def edge_points(space: Mapping[str, Dimension]) -> Iterator[tuple[str, list[Change]]]:
    """Yields the fewest points that show whether a space is valid, with the setting they change.

    Each changes one setting: to a bound of its range, or to one of its choices.
    """
    for key, dimension in space.items():
        path = tuple(key.split("."))
        if isinstance(dimension, Range):
            for bound in (dimension.low, dimension.high):
                yield key, [(path, Node(bound, dimension.node.place))]
            continue
        for label, option in dimension.options.items():
            chosen: list[Change] = [(path, option)]
            yield key, chosen
            for inner, changes in edge_points(dimension.inner.get(label, {})):
                placed = [((*path, *below), value) for below, value in changes]
                yield f"{key}[{label}].{inner}", [*chosen, *placed]


def count_points(space: Mapping[str, Dimension]) -> int | None:
    """Counts the different points of a space; None if a range is of real numbers."""
    total = 1
    for dimension in space.values():
        if isinstance(dimension, Range):
            if not dimension.integer:
                return None
            total *= int(dimension.high) - int(dimension.low) + 1
            continue
        counts = [count_points(dimension.inner.get(label, {})) for label in dimension.options]
        finite = [count for count in counts if count is not None]
        if len(finite) < len(counts):
            return None
        total *= sum(finite)
    return total


def list_points(space: Mapping[str, Dimension], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yields the parameters of every point of a finite space."""
    values = (_values(f"{prefix}{key}", dimension) for key, dimension in space.items())
    for parts in itertools.product(*map(list, values)):
        yield {name: value for part in parts for name, value in part.items()}


def space_to_plain(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Returns a space as plain data, as it is written in the study."""
    return {key: dimension.node.plain() for key, dimension in space.items()}


def _values(name: str, dimension: Dimension) -> Iterator[dict[str, Any]]:
    if isinstance(dimension, Range):
        yield from ({name: n} for n in range(int(dimension.low), int(dimension.high) + 1))
        return
    for label in dimension.options:
        for below in list_points(dimension.inner.get(label, {}), f"{name}[{label}]."):
            yield {name: label, **below}


def _draw(
    space: Mapping[str, Dimension], suggest: Suggest, *, prefix: str, outer: Path
) -> Iterator[Change]:
    for key, dimension in space.items():
        path, value = (*outer, *key.split(".")), suggest(f"{prefix}{key}", dimension)
        if isinstance(dimension, Range):
            yield path, Node(value, dimension.node.place)
        else:
            yield path, dimension.options[value]
            inner = dimension.inner.get(value, {})
            yield from _draw(inner, suggest, prefix=f"{prefix}{key}[{value}].", outer=path)


def _read_dimension(node: Node, key: str) -> Dimension:
    if isinstance(node.value, dict) and {"low", "high"} & set(node.value):
        return _read_range(node, key)
    if isinstance(node.value, dict) and node.value:
        return _read_parts(node, key)
    if isinstance(node.value, list) and node.value:
        plain = [child for child in node.value if not isinstance(child.value, dict | list)]
        options = {to_yaml_scalar(child.value): child for child in plain}
        if len(options) == len(node.value):
            return Choice(options, node)
    rule = "needs `low` and `high`, a list of different plain values, or `label: settings` of each"
    message = f"`{{key}}` {rule}; got {node.plain()!r}"
    raise SectionError([KeyProblem(message, (key,), place=node.place)])


def _read_range(node: Node, key: str) -> Range:
    try:
        keys = RangeKeys.model_validate(node.plain())
    except ValidationError as error:
        problems = list_problems(error, node, RangeKeys)
        raise SectionError(problem.inside((key,)) for problem in problems) from None
    if type(keys.low) is type(keys.high):
        return Range(keys.low, keys.high, keys.log, node)
    return Range(float(keys.low), float(keys.high), keys.log, node)


def _read_parts(node: Node, key: str) -> Choice:
    options: dict[str, Node] = {}
    inner: dict[str, Space] = {}
    problems: list[KeyProblem] = []
    for label, child in node.children.items():
        options[label] = child.without(INNER) if child.children else child
        if INNER not in child.children:
            continue
        try:
            inner[label] = read_space(child.children[INNER])
        except SectionError as error:
            problems += [problem.inside((key, label, INNER)) for problem in error.problems]
    raise_any(problems)
    return Choice(options, node, inner)
