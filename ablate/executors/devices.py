"""Which device each worker of a machine is given."""

import os


def assign_devices(gpus: int, size: int | None, ranks: int) -> list[str]:
    """Returns the device of each worker; the ranks of one trial also take those that follow.

    There are as many workers as asked for, or as there are GPUs, or CPU cores, for their ranks.
    Raises `ValueError` where the ranks of a trial have no GPU each.
    """
    if 0 < gpus < ranks:
        raise ValueError(f"{ranks} ranks need one GPU each; this machine has {gpus}")
    places = max(1, (gpus or count_cores()) // ranks)
    count = size or places
    return [f"cuda:{index % places * ranks}" if gpus else "cpu" for index in range(count)]


def count_cores() -> int:
    """Counts the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
