"""The commit of the git checkout that this package runs from, and uncommitted changes."""

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
    """Returns the uncommitted changes; None if the package is not in its own checkout."""
    return _git("diff", "HEAD") if _is_checkout() else None


@lru_cache
def _is_checkout() -> bool:
    """Returns whether the package lies at the top of a checkout, not installed inside another."""
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top) == ROOT.resolve()


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=60
        )
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
