"""The most memory that a process and all that it starts hold at once, sampled while they work (Linux)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Held", "held_by_all"]

EVERY_S = 0.2
"""Seconds between two looks: long beside what a look costs, short beside a partition."""

_PROCESSES = Path("/proc")
_PARENT, _PAGES = 1, 21
"""Places in /proc/PID/stat behind the process's name, which may hold spaces: `man proc_pid_stat`, fields 4 and 24."""


@dataclass
class Held:
    """MiB resident at the worst look so far; pages that processes share count once for each of them. None: unknown."""

    peak_mib: float | None = None


@contextmanager
def held_by_all() -> Iterator[Held]:
    """Watch this process and its descendants until the block ends."""
    held, ended = Held(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY_S):
            held.peak_mib = max(held.peak_mib or 0.0, _held_now())

    watching = threading.Thread(target=watch, daemon=True, name="watch memory")
    if (_PROCESSES / "self" / "stat").is_file():
        watching.start()
    try:
        yield held
    finally:
        ended.set()
        if watching.is_alive():
            watching.join()


def _held_now() -> float:
    """MiB of this process and its descendants."""
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    for folder in _PROCESSES.glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        parents[int(folder.name)], pages[int(folder.name)] = int(facts[_PARENT]), int(facts[_PAGES])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(pages[pid] for pid in ours) * os.sysconf("SC_PAGE_SIZE") / 2**20
