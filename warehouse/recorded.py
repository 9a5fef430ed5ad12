"""What may be read: the table versions that a catalogue's last recorded run left."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl

from warehouse import tables
from warehouse.home import Home


def recorded(home: Home, catalog: str, until: datetime | None = None) -> dict[str, int]:
    """Table versions that the catalogue's last recorded run left, or the last one until a time: all one may read."""
    runs = recorded_runs(home, catalog)
    if until is not None:
        runs = runs.filter(pl.col("finished_at") <= until)
    return {} if runs.is_empty() else versions_of(runs["tables"][-1])


def recorded_runs(home: Home, catalog: str) -> pl.DataFrame:
    """What the catalogue's runs recorded, in the order of their ends; `runs` alone is read at its newest version."""
    path = home.table(catalog, "runs")
    return tables.read(path, "runs", tables.version(path)).sort("finished_at")


def versions_of(text: str) -> dict[str, int]:
    """The column `tables` of a recorded run."""
    return {str(kind): int(version) for kind, version in json.loads(text).items()}
