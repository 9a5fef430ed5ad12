"""What a measurement was made on, without saying whose machine it was."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from typing import Any

__all__ = ["CORES", "describe"]

CORES = 2
"""Cores that every way may use, ours and the rivals'."""

_LIBRARIES = ("polars", "numpy", "scipy", "scikit-learn", "duckdb", "deltalake", "prefect", "great-expectations")


def describe() -> dict[str, Any]:
    """Cores, memory, versions, date, and how busy the machine was with other things."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores_used": min(CORES, os.cpu_count() or 1),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "processor": platform.machine(),
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
