"""Copies the code at submission, so that later edits do not change queued trials."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ablate.core.git import ROOT, get_commit, get_diff, is_dirty
from ablate.core.nested import find_parts
from ablate.core.own_code import INSTALLED, OwnCodeError, OwnModule, find_own_modules
from ablate.core.records.run import CodeSnapshot
from ablate.runs.record import SNAPSHOT
from ablate.slurm.commands import SlurmError


def copy_code(settings: Iterable[Mapping[str, Any]], folder: Path) -> Path:
    """Copies this package and the modules of the settings' parts; returns the folder.

    The commit is written next to them, `commit.json`. Packages installed in `site-packages` are
    not copied, because an environment is rarely edited between two runs.

    Raises `SlurmError` for a module whose files cannot be copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for module in find_code(settings):
        for source, name in _list_files(module):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    commit = CodeSnapshot(commit=get_commit(), dirty=is_dirty(), diff=get_diff())
    commit.write(folder / SNAPSHOT.name, private=True)
    return folder


def find_code(settings: Iterable[Mapping[str, Any]]) -> list[OwnModule]:
    """Finds what `copy_code` would copy. Raises `SlurmError` as it does."""
    package = ROOT / "ablate"
    ablate = [] if INSTALLED & set(package.parts) else [OwnModule("ablate", (package,))]
    try:
        return [*ablate, *find_own_modules(find_parts(list(settings)))]
    except OwnCodeError as error:
        raise SlurmError(str(error)) from error


def _list_files(module: OwnModule) -> list[tuple[Path, Path]]:
    try:
        return module.list_files()
    except OwnCodeError as error:
        raise SlurmError(str(error)) from error
