"""The console script, run as a user runs it."""

import subprocess
import sys

ABLATE = [sys.executable, "-c", "from ablate.cli.main import main; main()"]


def ablate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `ablate` in the working directory to its end."""
    return subprocess.run([*ABLATE, *arguments], capture_output=True, text=True, check=False)
