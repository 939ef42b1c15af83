"""Writes shell scripts that stand in for SLURM commands, for output that no real SLURM gives."""

from collections.abc import Mapping
from pathlib import Path


def write_commands(folder: Path, scripts: Mapping[str, str]) -> Path:
    """Writes shell scripts, by name of the command, into the subfolder `bin`; returns it."""
    target = folder / "bin"
    target.mkdir(exist_ok=True)
    for name, body in scripts.items():
        file = target / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(0o755)
    return target
