"""A site that is a few shell scripts, for what no real one can be brought to say."""

from collections.abc import Mapping
from pathlib import Path


def lay(folder: Path, scripts: Mapping[str, str]) -> Path:
    """Writes commands of a site into `bin` below a folder, each by what it does; returns that."""
    there = folder / "bin"
    there.mkdir(exist_ok=True)
    for name, does in scripts.items():
        script = there / name
        script.write_text(f"#!/bin/sh\n{does}\n")
        script.chmod(0o755)
    return there
