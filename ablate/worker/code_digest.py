"""Parts that are not ours: which code they were of, for a run is known by their settings alone.

The code of ours is told by its commit. What a stranger's part does may change between two runs of
one study, and nothing would say so.
"""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.core.part_classes import import_class

OURS = ("ablate", "maskers")


def compute_code_digests(settings: Any) -> dict[str, str]:
    """Returns a digest of the file of every part in some settings that is not ours, by its name.

    One that cannot be found is left out.
    """
    found = {}
    for name in _names(settings):
        try:
            file = inspect.getsourcefile(import_class(name))
            content = Path(file).read_bytes() if file else None
        except Exception:  # a stranger's module may raise anything; told where the part is built
            continue
        if content is not None:
            found[name] = hashlib.blake2b(content, digest_size=5).hexdigest()
    return found


def _names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        name = settings.get("type")
        if isinstance(name, str) and name.partition(".")[0] not in OURS:
            yield name
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for value in settings:
            yield from _names(value)
