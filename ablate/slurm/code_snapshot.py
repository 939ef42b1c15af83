"""Copies the code at submission, so that later edits do not change queued trials."""

import importlib.util
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ablate.core.git import get_commit, get_diff, is_dirty
from ablate.core.records.run import CodeSnapshot
from ablate.executors.short_trials import find_parts
from ablate.runs.record import SNAPSHOT

IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def copy_code(settings: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    """Copies this package and the packages of the settings' parts; returns the folder.

    The commit is written next to them, `commit.json`. Packages installed in `site-packages` are
    not copied, because an environment is rarely edited between two runs.
    """
    packages = {"ablate", *(part.partition(".")[0] for part in find_parts(list(settings)))}
    for name in sorted(packages):
        source = _find_source(name)
        if source is None:
            continue
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=IGNORED, dirs_exist_ok=True)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / source.name)
    commit = CodeSnapshot(commit=get_commit(), dirty=is_dirty(), diff=get_diff())
    commit.write(folder / SNAPSHOT.name)
    return folder


def _find_source(name: str) -> Path | None:
    """Returns the folder of a package or the file of a module; None if it is not to be copied."""
    try:
        spec = importlib.util.find_spec(name)  # imports nothing, because the name is top-level
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin or name in sys.stdlib_module_names:
        return None
    origin = Path(spec.origin)
    if "site-packages" in origin.parts or origin.suffix != ".py":
        return None
    return origin.parent if origin.name == "__init__.py" else origin
