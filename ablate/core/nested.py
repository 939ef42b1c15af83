"""Changes nested dicts at a path of keys, flattens them, and finds the parts that they name.

The dicts along the path are copied; everything else is shared with the original.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def set_nested(settings: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """Returns `settings` with `value` at `path`; missing dicts on the way are created."""
    first, *below = path
    if below:
        value = set_nested(settings.get(first, {}), below, value)
    return {**settings, first: value}


def remove_nested(settings: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Returns `settings` without the key at `path`, which must exist."""
    first, *below = path
    if below:
        return {**settings, first: remove_nested(settings[first], below)}
    return {key: value for key, value in settings.items() if key != first}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested dicts by dotted path: `{"budget.steps": 60}`."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        is_branch = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{prefix}{key}.") if is_branch else {f"{prefix}{key}": value}
    return flat


def find_parts(settings: Any) -> Iterator[str]:
    """Yields the dotted paths of all parts that settings name as `type`, outer parts first."""
    if isinstance(settings, Mapping):
        if isinstance(settings.get("type"), str):
            yield settings["type"]
        for value in settings.values():
            yield from find_parts(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from find_parts(value)
