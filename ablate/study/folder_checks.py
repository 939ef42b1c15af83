"""Checks, before a study starts, that its folders leave room for the names of its files."""

import os
from pathlib import Path

from ablate.config.study import StudyError
from ablate.runs.store import Folders

# names below one of the folders: of the study, two labels or a task, and a temporary file
RESERVED_BYTES = 600
DEFAULT_MAX_BYTES = 4096


def check_path_lengths(folders: Folders) -> None:
    """Raises `StudyError` if files in a folder could have a path that the system refuses."""
    places = {"ABLATE_RUNS": folders.runs, "ABLATE_REPORTS": folders.reports}
    places["ABLATE_CACHE"] = folders.cache
    problems = [_find_problem(name, folder) for name, folder in places.items()]
    if any(problems):
        raise StudyError([problem for problem in problems if problem])


def _find_problem(variable: str, folder: Path) -> str | None:
    path = str(folder.absolute())
    num_bytes, limit = len(os.fsencode(path)), _get_limit()
    if num_bytes + RESERVED_BYTES < limit:
        return None
    return (
        f"{path[:40]}...{path[-20:]}: the path has {num_bytes} bytes and its files need up to "
        f"{RESERVED_BYTES} more, but this system allows {limit} in all; work in a folder with a "
        f"shorter path, or set {variable}"
    )


def _get_limit() -> int:
    """Returns the number of bytes that a path may have, including its end."""
    if "PC_PATH_MAX" not in getattr(os, "pathconf_names", {}):
        return DEFAULT_MAX_BYTES
    limit = os.pathconf("/", "PC_PATH_MAX")
    return limit if limit > 0 else DEFAULT_MAX_BYTES
