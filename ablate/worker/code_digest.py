"""Computes digests of the code of third-party parts, to notice that it has changed between runs.

A run is identified by its settings, not by code. Parts of this project are covered by its commit;
a user's part may change between two runs of one study, which only its digest shows.
"""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.core.part_classes import import_class

OWN_PACKAGES = ("ablate", "maskers")


def compute_code_digests(settings: Any) -> dict[str, str]:
    """Returns the digest of the source file of every third-party part in `settings`, by its name.

    Parts whose source cannot be read are left out.
    """
    digests = {}
    for name in _find_part_names(settings):
        try:
            file = inspect.getsourcefile(import_class(name))
            content = Path(file).read_bytes() if file else None
        except Exception:  # a user's module may raise anything; building the part reports it
            continue
        if content is not None:
            digests[name] = hashlib.blake2b(content, digest_size=5).hexdigest()
    return digests


def _find_part_names(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        name = settings.get("type")
        if isinstance(name, str) and name.partition(".")[0] not in OWN_PACKAGES:
            yield name
        settings = list(settings.values())
    if isinstance(settings, list | tuple):
        for value in settings:
            yield from _find_part_names(value)
