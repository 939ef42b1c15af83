"""Finds the files of data sets: as they are named, or below the folder that ABLATE_DATA names."""

import os
from pathlib import Path

VARIABLE = "ABLATE_DATA"


def find_data_path(name: str) -> Path:
    """Returns the absolute path of a file or folder of a data set, which need not exist.

    A relative path that does not lead anywhere from the working folder is looked for below the
    folder in the environment variable ABLATE_DATA, so that one study runs on several machines.
    """
    path = Path(name).expanduser()
    folder = os.environ.get(VARIABLE)
    if folder and not path.is_absolute() and not _leads_somewhere(path):
        return (Path(folder).expanduser() / path).absolute()
    return path.absolute()


def _leads_somewhere(path: Path) -> bool:
    """Whether a path exists, or, for a pattern, the folder before its first wildcard."""
    parts = path.parts
    stop = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
    if stop == 0:
        return next(Path().glob(str(path)), None) is not None
    return Path(*parts[:stop]).exists()
