"""This machine: what its libraries are told before they are loaded, and the memory it has left."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import sys
import warnings
from functools import lru_cache
from pathlib import Path

QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
    # OpenMP threads that wait by spinning starve their neighbours.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Variables that libraries read when they are imported; what the user has set stays."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_THRESHOLDS = (1 << 30, 32 << 20)
"""Bytes; glibc refuses mmap thresholds above 32 MiB in some versions (malloc/malloc.c)."""


def quiet(debug: bool = False) -> None:
    """Keep the libraries' chatter off the terminal; call it before they are imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not debug:
        warnings.simplefilter("ignore")
        for name in ("mlflow", "alembic", "transformers", "huggingface_hub", "httpx", "bm25s"):
            logging.getLogger(name).setLevel(logging.ERROR)


@lru_cache(maxsize=1)
def tune() -> bool:
    """Let glibc keep freed memory instead of giving it back to the kernel after each operation.

    A training step frees and takes the same activations again and again; zeroing their pages each
    time made element-wise operations on the CPU up to three times slower. Call it where work with
    torch starts. Returns whether the allocator took the setting; elsewhere than glibc it cannot.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return False
    mapped = any(libc.mallopt(_M_MMAP_THRESHOLD, limit) == 1 for limit in _THRESHOLDS)
    return bool(libc.mallopt(_M_TRIM_THRESHOLD, _THRESHOLDS[0]) == 1 and mapped)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(processes: int) -> int:
    """Threads of each of so many processes that work side by side."""
    return max(1, cores() // processes)


def free_memory() -> int | None:
    """Bytes this process may still take, the container's limit included; None when unknown."""
    found = [amount for amount in (_system(), _container()) if amount is not None]
    return min(found) if found else None


def _system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        # Elsewhere only the whole memory is known without a further package.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _container() -> int | None:
    """What a cgroup v2 leaves, or None without a limit."""
    room = Path("/sys/fs/cgroup")
    try:
        limit = (room / "memory.max").read_text().strip()
        used = int((room / "memory.current").read_text())
        # Cached files count as used and are given back when memory is asked for.
        stat = dict(line.split() for line in (room / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + int(stat.get("inactive_file", 0)))
