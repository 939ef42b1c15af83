"""Notices that code changes while a study runs on this machine.

Workers import code when they start, and some of it later. So a trial may use code that is newer
than that of an earlier trial of the same session.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ablate.core.git import ROOT
from ablate.core.own_code import OwnCodeError, OwnModule, find_own_modules

MAX_NAMES = 3


class CodeWatch:
    """Compares code files with what they were when this was created.

    Args:
        parts: import paths of all parts of the study.
    """

    def __init__(self, parts: Iterable[str]) -> None:
        modules = [OwnModule("ablate", (ROOT / "ablate",))]
        with suppress(OwnCodeError, OSError):  # runs record what can be kept of it
            modules += find_own_modules(parts)
        self._digests = {
            path: _compute_digest(path) for module in modules for path, _ in module.list_sources()
        }

    def describe_changes(self) -> str | None:
        """Returns a warning that names files that have changed; None if there are none."""
        changed = [path for path, old in self._digests.items() if _compute_digest(path) != old]
        if not changed:
            return None
        names = ", ".join(path.name for path in changed[:MAX_NAMES])
        more = f" and {len(changed) - MAX_NAMES} more" if len(changed) > MAX_NAMES else ""
        return (
            f"warning: code has changed while the study ran ({names}{more}); trials that began "
            "later may have used the new code, see the `code-*.zip` in their run folders"
        )


def _compute_digest(path: Path) -> bytes:
    with suppress(OSError):
        return hashlib.blake2b(path.read_bytes(), digest_size=8).digest()
    return b""
