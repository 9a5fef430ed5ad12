"""What may be read: the table versions that a catalogue's last recorded run left."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl

from warehouse import tables
from warehouse.home import Home


def recorded(home: Home, catalog: str) -> dict[str, int]:
    """Table versions that the catalogue's last recorded run left: all one may read."""
    return {kind: at for kind, at in readable(home, catalog).items() if kind != "runs"}


def readable(home: Home, catalog: str, until: datetime | None = None) -> dict[str, int]:
    """The same of the last run until a time, and `runs` at the version that named it; empty where there was none.

    Whoever reads `runs` at a later version may meet a run that has been recorded since, and none of its rows.
    """
    path = home.table(catalog, "runs")
    at = tables.version(path)
    runs = tables.read(path, "runs", at).sort("finished_at")
    if until is not None:
        runs = runs.filter(pl.col("finished_at") <= until)
    return {} if at is None or runs.is_empty() else {**versions_of(runs["tables"][-1]), "runs": at}


def recorded_runs(home: Home, catalog: str) -> pl.DataFrame:
    """What the catalogue's runs recorded, in the order of their ends; `runs` alone is read at its newest version."""
    path = home.table(catalog, "runs")
    return tables.read(path, "runs", tables.version(path)).sort("finished_at")


def recorded_digests(home: Home, catalog: str) -> dict[str, str]:
    """sha256 of the files that compaction wrote, by kind/name; others have it in their names."""
    recorded = recorded_runs(home, catalog)["digests"].drop_nulls()
    return {name: digest for text in recorded for name, digest in json.loads(text).items()}


def versions_of(text: str) -> dict[str, int]:
    """The column `tables` of a recorded run."""
    return {str(kind): int(version) for kind, version in json.loads(text).items()}
