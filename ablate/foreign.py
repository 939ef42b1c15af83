"""Parts that are not ours: which code they were of, since a run is known by their settings alone.

The code of ours is told by its commit. What a stranger's part does may change between two runs of
one study, and nothing would say so: their files' digests are written down, and held against each
other before anything is run and in the report.
"""

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.parts import find

OURS = ("ablate", "maskers")


def digests(settings: Any) -> dict[str, str]:
    """Returns a digest of the file of every part in some settings that is not ours, by its name.

    One that cannot be found is left out.
    """
    found = {}
    for name in _names(settings):
        try:
            file = inspect.getsourcefile(find(name))
            content = Path(file).read_bytes() if file else None
        except Exception:  # a stranger's module may raise anything; told where the part is built
            continue
        if content is not None:
            found[name] = hashlib.blake2b(content, digest_size=5).hexdigest()
    return found


def rewritten(versions: Iterable[Mapping[str, str]]) -> list[str]:
    """Names the parts that have more than one digest among some `digests`, in their order."""
    seen: dict[str, set[str]] = {}
    for of in versions:
        for name, digest in of.items():
            seen.setdefault(name, set()).add(digest)
    return [name for name, found in seen.items() if len(found) > 1]


def warning(names: Iterable[str]) -> str:
    """Says what it means that parts have been rewritten."""
    told = ", ".join(f"`{name}`" for name in names)
    return (
        f"The code of {told} has changed since some of the runs were made. If it does something "
        "else now, raise the class attribute `version`: its runs are then made again."
    )


def _names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        name = settings.get("type")
        if isinstance(name, str) and name.partition(".")[0] not in OURS:
            yield name
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for value in settings:
            yield from _names(value)
