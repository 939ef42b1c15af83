"""A study's text as a tree in which every value remembers where it was written.

A place is what an error message begins with: `studies/masking.yaml:14`, or `command line`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

COMMAND_LINE = "command line"
# words for one size: what is written last takes the other's place
EITHER = (("seconds", "time"), ("stride_seconds", "time_stride"), ("crop_seconds", "crop_frames"))


@dataclass(frozen=True)
class Node:
    """A value and the place of its key."""

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    place: str

    @property
    def children(self) -> "dict[str, Node]":
        """The settings of a mapping; none for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def plain(self) -> Any:
        """Returns the value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def told_place(self) -> str:
        """Returns the place to tell of something wrong in all of this: an override may be why."""
        over = self.place != COMMAND_LINE and self._is_overridden()
        return f"{self.place}, with the {COMMAND_LINE}" if over else self.place

    def _is_overridden(self) -> bool:
        below = self.value if isinstance(self.value, list) else self.children.values()
        return self.place == COMMAND_LINE or any(child._is_overridden() for child in below)

    def equals(self, other: "Node") -> bool:
        """Compares values, less the order of keys; unlike Python, 1 is not `true`."""
        mine, theirs = self.plain(), other.plain()
        return json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True)

    def at(self, path: Iterable[str]) -> "Node | None":
        """Returns the value at a path of keys, or None where nothing is written."""
        node: Node | None = self
        for key in path:
            node = node._child(key) if node is not None else None
        return node

    def nearest(self, path: Iterable[str]) -> "Node":
        """Returns the deepest value that is written on the way along a path of keys."""
        node = self
        for key in path:
            child = node._child(key)
            if child is None:
                break
            node = child
        return node

    def _child(self, key: str) -> "Node | None":
        if isinstance(self.value, list):
            return self.value[int(key)] if key.isdigit() and int(key) < len(self.value) else None
        return self.children.get(key)


def from_plain(value: Any, place: str) -> Node:
    """Turns dicts, lists and scalars into a tree that was all written in one place."""
    if isinstance(value, dict):
        return Node({key: from_plain(child, place) for key, child in value.items()}, place)
    if isinstance(value, list):
        return Node([from_plain(child, place) for child in value], place)
    return Node(value, place)


def merge(inherited: Node, own: Node) -> Node:
    """Lays `own` over `inherited`, key by key; a mapping of another `type` replaces it whole."""
    if not (isinstance(inherited.value, dict) and isinstance(own.value, dict)):
        return own
    if "type" in own.value and _type_of(own) != _type_of(inherited):
        return own
    merged = _without_other_words(inherited.value, own.value)
    for key, child in own.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, own.place)


def lay(overlay: Node, *, over: Node) -> Node:
    """Lays `overlay` over settings, only where they have the setting already.

    So one overlay serves parts of every kind: each takes from it what it has. A mapping that
    names a `type` is merged whole.
    """
    if "type" in overlay.children or not overlay.children or not over.children:
        return merge(over, overlay)
    laid = dict(over.children)
    for key in over.children.keys() & overlay.children.keys():
        laid[key] = lay(overlay.children[key], over=over.children[key])
    return Node(laid, over.place)


def put(node: Node, path: tuple[str, ...], value: Node) -> Node:
    """Returns `node` with `value` at `path`; another `type` takes its siblings away with it.

    Raises `ValueError` where the path leads through a value that has no settings.
    """
    if not path:
        return value
    if not isinstance(node.value, dict):
        raise ValueError(f"`{path[0]}` cannot be set: the value there is {node.plain()!r}")
    children = node.value
    if path == ("type",) and _type_of(node) != value.value:
        children = {}
    children = _without_other_words(children, path[:1])
    child = children.get(path[0], Node({}, value.place))
    return Node({**children, path[0]: put(child, path[1:], value)}, node.place)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns the values that differ as pairs, by dotted path; None where there is none."""
    mine, theirs = dict(_leaves(one)), dict(_leaves(other))
    return {
        path: (mine.get(path), theirs.get(path))
        for path in {**mine, **theirs}
        if mine.get(path) != theirs.get(path)
    }


def spelled(value: object) -> str:
    """Writes a scalar as YAML does: `true`, `null`, `0.001`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def flowing(value: Any) -> str:
    """Writes plain data as YAML in one line: `{type: maskers.Random, ratio: 0.6}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flowing(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flowing, value)) + "]"
    plain = isinstance(value, str) and re.fullmatch(
        r"(?!(?i:null|true|false)$)[A-Za-z][\w./-]*", value
    )
    if isinstance(value, str) and not plain:
        return json.dumps(value)  # YAML reads JSON
    return spelled(value)


def _without_other_words(children: dict[str, Node], written: Iterable[str]) -> dict[str, Node]:
    """Leaves out what is now written in other words."""
    ousted = {b for pair in EITHER for a, b in (pair, pair[::-1]) if a in written}
    return {key: child for key, child in children.items() if key not in ousted - set(written)}


def _type_of(node: Node) -> object:
    found = node.children.get("type")
    return found.value if found is not None else None


def _leaves(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key)
    else:
        yield path, value


def worded(tree: Node, problem: Mapping[str, Any]) -> str:
    """Words what a worker found wrong with settings, where these were written in `tree`."""
    path = problem["path"]
    known = path[path[:1] == ["baseline"] :]
    name = f"`{'.'.join(known)}`: " if known else ""
    return f"{tree.nearest(path).told_place()}: {name}{problem['message']}"
