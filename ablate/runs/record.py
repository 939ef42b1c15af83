"""The state of a run as its own process writes it: `run.json`, `env.json`, `attempts/NNN/`."""

import contextlib
import os
import platform
import socket
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from ablate.core.git import ROOT, changes, is_changed, revision
from ablate.core.io import find_json, read_json, write_atomically, write_json

Ended = Literal["done", "failed", "cancelled"]
SNAPSHOT = ROOT / "commit.json"  # where the code was laid aside for a cluster
PACKAGES = ("torch", "torchaudio", "xformers", "numpy", "scikit-learn", "einops")


class SupersededError(Exception):
    """Another process has taken the run over; nothing more is written by this one."""


class RunState:
    """Keeps a run's `run.json`. What was found out about a finished run survives a re-scoring.

    One process writes at a time: the one whose attempt is the latest. To make one claims the
    next attempt. `parts` tells the code of parts that are not ours, as `foreign.digests` does.
    """

    def __init__(
        self, folder: Path, *, kind: str, device: str, parts: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._attempt = _claim(folder)
        known = folder / "run.json"
        self.facts: dict[str, Any] = find_json(known) or {}
        self.was_done = self.facts.get("state") == "done"
        self._here = {
            "kind": kind,
            "host": socket.gethostname(),
            "device": device,
            "code": code(),
            "versions": versions(),
        }
        self._parts = dict(parts or {})
        self.facts = {**self._here, **self.facts}

    def put(
        self,
        state: Literal["running", "preempted", "done", "failed", "cancelled"],
        reason: str | None = None,
        details: str = "",
    ) -> None:
        """Writes the state down, with a reason in a line and details in the attempt's log.

        Raises `SupersededError`, writing nothing, where a later attempt has been made.
        """
        self.check()
        attempt = int(self._attempt.name)
        if state == "running":
            self.facts |= {**self._here, "parts": self._parts}
            write_json(self._folder / "env.json", environment())
        written = {"state": state, "reason": reason, "attempt": attempt}
        write_json(self._folder / "run.json", {**self.facts, **written})
        log = f"attempt {attempt}, process {os.getpid()}: {state}\n{details}"
        write_atomically(self._attempt / "log.txt", log)

    def check(self) -> None:
        """Raises `SupersededError` where a later attempt has been made."""
        if _latest(self._attempt.parent) > int(self._attempt.name):
            raise SupersededError(f"attempt {self._attempt.name} was superseded by another process")


def _claim(folder: Path) -> Path:
    """Makes the next attempt's folder; making a folder is atomic on network file systems too."""
    attempts = folder / "attempts"
    attempts.mkdir(parents=True, exist_ok=True)
    number = 1 + _latest(attempts)
    while True:
        try:
            (attempts / f"{number:03d}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return attempts / f"{number:03d}"


def _latest(attempts: Path) -> int:
    """Returns the number of the latest attempt; a network disk leaves files beside them."""
    numbers = (path.name for path in attempts.iterdir())
    return max((int(name) for name in numbers if name.isdecimal()), default=0)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide numbers, by name."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # xformers has no wheel for every platform
            found[name] = version(name)
    return found


@lru_cache
def code() -> dict[str, Any]:
    """The commit that this package was run from; None where it is no git checkout."""
    if SNAPSHOT.exists():
        laid_aside = read_json(SNAPSHOT)
        return {"git": laid_aside["git"], "dirty": laid_aside["dirty"]}
    return {"git": revision(), "dirty": is_changed()}


def environment() -> dict[str, Any]:
    """What may be asked later about where a run was made: machine, job, versions, diff."""
    machine = {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "argv": sys.argv,
    }
    slurm = {name: value for name, value in os.environ.items() if name.startswith("SLURM_JOB")}
    return {
        "machine": machine,
        "slurm": slurm,
        "versions": versions(),
        "diff": read_json(SNAPSHOT)["diff"] if SNAPSHOT.exists() else changes(),
    }
