"""Finds out which instructions the CPUs of this machine have."""

from functools import cache
from pathlib import Path

BF16_FLAGS = {"amx_bf16", "avx512_bf16"}
CPU_INFO = Path("/proc/cpuinfo")  # only on Linux; elsewhere nothing is known


@cache
def has_bf16() -> bool:
    """Returns whether the CPUs multiply matrices in bf16: false if that is not known."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(BF16_FLAGS & set(line.split()) for line in lines if line.startswith("flags"))
