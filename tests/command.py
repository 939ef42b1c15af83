"""Runs the console script `ablate` in a subprocess."""

import subprocess
import sys

ABLATE = [sys.executable, "-c", "from ablate.cli.main import main; main()"]


def ablate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `ablate` in the working directory and waits for its end."""
    return subprocess.run([*ABLATE, *arguments], capture_output=True, text=True, check=False)
