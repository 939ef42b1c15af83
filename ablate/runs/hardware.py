"""Names the processor, the driver and the packages of this machine, for the record of a run."""

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


def find_driver(device: str) -> str | None:
    """Returns the version of an NVIDIA GPU's driver; None if it is not known.

    Args:
        device: a device of torch, such as `cuda:0`.
    """
    if not device.startswith("cuda"):
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True
        )
        return next(iter(result.stdout.split()), None)
    return None


def list_packages() -> dict[str, str]:
    """Returns the versions of all installed packages by name, sorted."""
    versions = {}
    for package in distributions():
        with suppress(KeyError):  # metadata that is cut off
            versions[str(package.metadata["Name"])] = package.version
    return dict(sorted(versions.items()))
