"""The code as it is at submission, laid aside: what is edited later changes no queued trial."""

import importlib.util
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.core.git import get_commit, get_diff, is_dirty
from ablate.core.records.run import CodeSnapshot
from ablate.runs.record import SNAPSHOT

IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def take(settings: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    """Copies this package and those that the settings' parts come from; returns the folder.

    The commit is written beside them, `commit.json`. Installed packages stay where they are: an
    environment is not edited between two runs.
    """
    for name in sorted({"ablate", *(part.partition(".")[0] for part in parts(list(settings)))}):
        found = _source(name)
        if found is None:
            continue
        if found.is_dir():
            shutil.copytree(found, folder / name, ignore=IGNORED, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, folder / found.name)
    commit = CodeSnapshot(commit=get_commit(), dirty=is_dirty(), diff=get_diff())
    commit.write(folder / SNAPSHOT.name)
    return folder


def parts(settings: Any) -> Iterator[str]:
    """Yields the dotted paths of all parts that settings name as `type`, outer parts first."""
    if isinstance(settings, Mapping):
        if isinstance(settings.get("type"), str):
            yield settings["type"]
        for value in settings.values():
            yield from parts(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from parts(value)


def _source(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)  # of a top-level name: nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or name in sys.stdlib_module_names:
        return None
    origin = Path(spec.origin)
    if "site-packages" in origin.parts or origin.suffix != ".py":
        return None
    return origin.parent if origin.name == "__init__.py" else origin
