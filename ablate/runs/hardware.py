"""Names the processor, the GPU and the packages of this machine, for the record of a run."""

import subprocess
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

CPU_FILE = Path("/proc/cpuinfo")
QUERY_SECONDS = 20.0


def find_cpu() -> str | None:
    """Returns the name of the processor, where Linux tells it."""
    with suppress(OSError):
        for line in CPU_FILE.read_text(errors="replace").splitlines():
            key, _, name = line.partition(":")
            if key.strip() in ("model name", "Hardware", "cpu model"):
                return name.strip()
    return None


def find_gpu(device: str) -> tuple[str | None, str | None]:
    """Returns the name of an NVIDIA GPU and the version of its driver; None if there is none.

    Args:
        device: a device of torch, such as `cuda:0`. Of several visible GPUs, all are named.
    """
    if not device.startswith("cuda"):
        return None, None
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    rows = [line.rpartition(", ") for line in result.stdout.splitlines() if ", " in line]
    names = ", ".join(dict.fromkeys(name for name, _, _ in rows))
    return names or None, rows[0][2] if rows else None


def list_packages() -> dict[str, str]:
    """Returns the versions of all installed packages by name, sorted."""
    found = {}
    for package in distributions():
        with suppress(KeyError):  # metadata that is cut off
            found[str(package.metadata["Name"])] = package.version
    return dict(sorted(found.items()))
