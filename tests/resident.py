"""How much memory this process holds (Linux)."""

from __future__ import annotations

from pathlib import Path


def resident_mib() -> int:
    """MiB resident now."""
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(facts["VmRSS"].split()[0]) >> 10
