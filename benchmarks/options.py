"""What the command line asks of a benchmark."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Size and place of a measurement.

    Attributes:
        folder: temporary files; removed afterwards.
        rows: products to measure with; None for the benchmark's own size.
        repeats: times that a cheap measurement is made; the median counts.
        minutes: how long the API's memory is watched under load; its other loads are never longer than that either.
    """

    folder: Path
    rows: int | None = None
    repeats: int = 3
    minutes: float = 10.0

    def size(self, default: int, *, most: int | None = None) -> int:
        """Rows to use where the benchmark's own size is `default`."""
        rows = self.rows or default
        return rows if most is None else min(rows, most)

    @staticmethod
    def say(what: str) -> None:
        """Tell the person who waits what is being done."""
        print(f"bench: {what}", file=sys.stderr, flush=True)
