"""Changes nested dicts at a path of keys.

The dicts along the path are copied; everything else is shared with the original.
"""

from collections.abc import Mapping, Sequence
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
