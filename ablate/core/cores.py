"""Counts the CPU cores that a process may use."""

import os


def count_cores() -> int:
    """Returns the number of cores that this process may use, or that its SLURM job asked for."""
    all_cores = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_cores
    requested = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(allowed, int(requested)) if requested.isdigit() else allowed
