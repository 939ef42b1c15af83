"""A YAML document as a tree in which every value knows the file and line of its key.

Error messages begin with such a place: `studies/masking.yaml:14`, or `command line`.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ablate.core.records.planning import SettingProblem

COMMAND_LINE = "command line"
# pairs of keys that set the same quantity: the one written last replaces the other
ALTERNATIVES = (
    ("seconds", "time"),
    ("stride_seconds", "time_stride"),
    ("crop_seconds", "crop_frames"),
)
Path = tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A value and the place where its key was written."""

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    place: str

    @property
    def children(self) -> "dict[str, Node]":
        """The items of a mapping; empty for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping, perhaps an empty one."""
        return isinstance(self.value, dict)

    def plain(self, *, keep: Collection[Path] = ()) -> Any:
        """Returns the value as dicts, lists and scalars.

        Values at the paths in `keep` stay nodes, so that their places are not lost.
        """
        if () in keep:
            return self
        if isinstance(self.value, dict):
            return {
                key: child.plain(keep=[path[1:] for path in keep if path[0] == key])
                for key, child in self.value.items()
            }
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def describe_place(self) -> str:
        """Returns the place to report for a problem that may be due to any value below this one.

        It mentions the command line if an override changed one of them.
        """
        overridden = self.place != COMMAND_LINE and self._is_overridden()
        return f"{self.place}, with the {COMMAND_LINE}" if overridden else self.place

    def _is_overridden(self) -> bool:
        below = self.value if isinstance(self.value, list) else self.children.values()
        return self.place == COMMAND_LINE or any(child._is_overridden() for child in below)

    def equals(self, other: "Node") -> bool:
        """Compares values, ignoring the order of keys; unlike in Python, 1 is not `true`."""
        values = (json.dumps(node.plain(), sort_keys=True) for node in (self, other))
        return len({*values}) == 1

    def at(self, path: Iterable[str]) -> "Node | None":
        """Returns the value at a path of keys; None if it is missing."""
        node: Node | None = self
        for key in path:
            node = node._child(key) if node is not None else None
        return node

    def nearest(self, path: Iterable[str]) -> "Node":
        """Returns the deepest existing value along a path of keys."""
        node = self
        for key in path:
            child = node._child(key)
            if child is None:
                break
            node = child
        return node

    def nearest_path(self, path: Path) -> Path:
        """Returns the path of the deepest existing value along a path of keys."""
        return next(path[:n] for n in range(len(path), -1, -1) if self.at(path[:n]) is not None)

    def _child(self, key: str) -> "Node | None":
        if isinstance(self.value, list):
            return self.value[int(key)] if key.isdigit() and int(key) < len(self.value) else None
        return self.children.get(key)

    def prune(self, paths: Collection[Path]) -> "Node":
        """Returns the tree without the values at some paths."""
        items: Iterable[tuple[Any, Node]] = self.children.items()
        if isinstance(self.value, list):
            items = enumerate(self.value)
        kept = {
            key: child.prune([path[1:] for path in paths if path[:1] == (str(key),)])
            for key, child in items
            if (str(key),) not in paths
        }
        if isinstance(self.value, list):
            return Node([*kept.values()], self.place)
        return Node(kept, self.place) if self.is_mapping else self

    def without(self, key: str) -> "Node":
        """Returns the mapping without one of its keys."""
        return Node({k: child for k, child in self.children.items() if k != key}, self.place)


def from_plain(value: Any, place: str) -> Node:
    """Converts dicts, lists and scalars to a tree whose values all have one place."""
    if isinstance(value, dict):
        return Node({key: from_plain(child, place) for key, child in value.items()}, place)
    if isinstance(value, list):
        return Node([from_plain(child, place) for child in value], place)
    return Node(value, place)


def merge(inherited: Node, own: Node) -> Node:
    """Merges `own` into `inherited`, key by key; a mapping of another `type` replaces it."""
    if not (isinstance(inherited.value, dict) and isinstance(own.value, dict)):
        return own
    if "type" in own.value and _type_of(own) != _type_of(inherited):
        return own
    merged = _without_alternatives(inherited.value, own.value)
    for key, child in own.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, own.place)


def overlay(base: Node, changes: Node) -> Node:
    """Merges `changes` into `base`, but only for settings that `base` has already.

    So one overlay serves parts of every kind: each takes the settings that it has. A mapping
    that names a `type` is merged completely.
    """
    if "type" in changes.children or not changes.children or not base.children:
        return merge(base, changes)
    merged = dict(base.children)
    for key in base.children.keys() & changes.children.keys():
        merged[key] = overlay(base.children[key], changes.children[key])
    return Node(merged, base.place)


def set_path(node: Node, path: Path, value: Node) -> Node:
    """Returns `node` with `value` at `path`; setting another `type` removes its siblings.

    Raises `ValueError` if the path leads through a value that is not a mapping.
    """
    if not path:
        return value
    if not isinstance(node.value, dict):
        raise ValueError(f"`{path[0]}` cannot be set: the value there is {node.plain()!r}")
    children = node.value
    if path == ("type",) and _type_of(node) != value.value:
        children = {}
    children = _without_alternatives(children, path[:1])
    child = children.get(path[0], Node({}, value.place))
    return Node({**children, path[0]: set_path(child, path[1:], value)}, node.place)


def find_differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Returns pairs of values that differ, by dotted path; None stands for a missing value."""
    left, right = dict(_leaves(first)), dict(_leaves(second))
    return {
        path: (left.get(path), right.get(path))
        for path in {**left, **right}
        if left.get(path) != right.get(path)
    }


def to_yaml_scalar(value: object) -> str:
    """Formats a scalar as YAML does: `true`, `null`, `0.001`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def to_flow_yaml(value: Any) -> str:
    """Formats plain data as one line of YAML: `{type: maskers.Random, ratio: 0.6}`."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{key}: {to_flow_yaml(child)}" for key, child in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_flow_yaml, value)) + "]"
    plain = isinstance(value, str) and re.fullmatch(
        r"(?!(?i:null|true|false)$)[A-Za-z][\w./-]*", value
    )
    if isinstance(value, str) and not plain:
        return json.dumps(value)  # YAML reads JSON
    return to_yaml_scalar(value)


def format_problem(tree: Node, problem: SettingProblem) -> str:
    """Formats a worker's complaint about settings: the place in `tree`, the key, the message."""
    setting = problem.path[problem.path[:1] == ("baseline",) :]
    place = tree.nearest(problem.path).describe_place()
    return f"{place}: {replace(problem, path=setting)}"


def _without_alternatives(children: dict[str, Node], written: Iterable[str]) -> dict[str, Node]:
    """Leaves out the keys for which `written` holds the alternative."""
    replaced = {b for pair in ALTERNATIVES for a, b in (pair, pair[::-1]) if a in written}
    return {key: child for key, child in children.items() if key not in replaced - set(written)}


def _type_of(node: Node) -> object:
    name = node.children.get("type")
    return name.value if name is not None else None


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key)
    else:
        yield path, value
