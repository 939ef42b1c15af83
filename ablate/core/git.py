"""The commit of the git checkout that this package runs from, and uncommitted changes."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("*.py", ":!tests")  # audio, studies and reports in a checkout are not code


def get_commit() -> str | None:
    """Returns the last commit that changed code; None if the package is not in its own checkout."""
    return _git("log", "-1", "--format=%H", "--", *CODE) if _is_checkout() else None


def is_dirty() -> bool:
    """Returns whether the checkout has uncommitted changes of code."""
    return bool(_git("status", "--porcelain", "--", *CODE)) if _is_checkout() else False


def get_diff() -> str | None:
    """Returns the uncommitted changes and new files of code; None without an own checkout."""
    if not _is_checkout():
        return None
    new = _git("ls-files", "--others", "--exclude-standard", "--", *CODE) or ""
    added = (_git("diff", "--no-index", "--", os.devnull, file) for file in new.splitlines())
    return "\n".join(filter(None, (_git("diff", "HEAD"), *added)))


@lru_cache
def _is_checkout() -> bool:
    """Returns whether the package lies at the top of a checkout, not installed inside another."""
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top) == ROOT.resolve()


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=60
        )
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
    # `diff --no-index` ends with 1 if there is a difference, and there always is
    is_fine = result.returncode == 0 or (result.returncode == 1 and "--no-index" in arguments)
    return result.stdout.strip() if is_fine else None
