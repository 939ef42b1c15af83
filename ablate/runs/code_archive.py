"""Keeps the code of a run that no commit holds: own parts, and uncommitted changes.

The archive is named by its content, so that a run that continues with other code keeps both. Only
its owner may read it, because uncommitted code may contain what is not meant for others.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from ablate.core.io import write_atomically
from ablate.core.own_code import OwnCodeError, find_own_modules

DIFF_FILE = "uncommitted.diff"
PROBLEM_FILE = "missing.txt"
TIME = (1980, 1, 1, 0, 0, 0)  # so that equal code gives equal bytes


def write_code_archive(folder: Path, parts: Iterable[str], diff: str | None) -> str | None:
    """Writes `code-DIGEST.zip` to a run folder; returns its name, or None if there is nothing.

    Args:
        folder: the run folder.
        parts: import paths of the parts that are not of `ablate`.
        diff: uncommitted changes of this package.
    """
    files = {DIFF_FILE: diff.encode()} if diff else {}
    try:
        for module in find_own_modules(parts):
            if module.name != "maskers":  # belongs to the commit
                files |= {
                    name.as_posix(): path.read_bytes() for path, name in module.list_sources()
                }
    except (OwnCodeError, OSError) as error:
        files[PROBLEM_FILE] = str(error).encode()
    if not files:
        return None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, TIME), data, zipfile.ZIP_DEFLATED)
    digest = hashlib.blake2b(content.getvalue(), digest_size=5).hexdigest()
    target = folder / f"code-{digest}.zip"
    if not target.exists():
        write_atomically(target, content.getvalue(), private=True)
    return target.name
