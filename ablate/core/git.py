"""The commit that this package is run from, and what has been changed since."""

import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("*.py", ":!tests")  # sound, studies and reports in a checkout are not code


def revision() -> str | None:
    """Returns the last commit that changed code; None where this is no git checkout of its own."""
    return _git("log", "-1", "--format=%H", "--", *CODE) if _is_checkout() else None


def is_changed() -> bool:
    """Tells whether the checkout holds code that is not committed."""
    return bool(_git("status", "--porcelain", "--", *CODE)) if _is_checkout() else False


def changes() -> str | None:
    """Returns what is not committed, as a diff; None where the package is no git checkout."""
    return _git("diff", "HEAD") if _is_checkout() else None


@lru_cache
def _is_checkout() -> bool:
    """Tells our own checkout from another one that the package is merely installed in."""
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top) == ROOT.resolve()


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, timeout=60
        )
    except (FileNotFoundError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
