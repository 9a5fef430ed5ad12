"""How much memory this process may use, and giving back what it does not.

Too little is said at the start: who is killed for it says nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

__all__ = ["LEAST_BYTES", "MIB", "allowed", "give_back"]

MIB = 1 << 20

LEAST_BYTES = 1024 * MIB
"""What a run takes that begins with a few thousand rows: a demo of 1,500 holds 711 MiB at most, libraries included."""

_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
"""Of a container or a systemd unit: cgroups of version 2, and of version 1."""


def allowed(cgroup: Path = _CGROUP) -> int:
    """Bytes that this process may use: the machine's memory, or the limit of its container where that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _LIMITS:
        try:
            found.append(int((cgroup / name).read_text()))
        except (OSError, ValueError):  # no such version, or "max"
            continue
    return min(found)


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc); elsewhere nothing is done.

    glibc keeps what a thread freed for that thread: over many partitions, each worked on by new threads, ever more
    lies idle.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
