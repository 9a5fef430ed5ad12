"""DuckDB as the engine of a run: in memory, spilling to the run's staging folder, over its tables' Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from core.settings import get_settings
from warehouse import tables
from warehouse.home import naming_disk_errors
from warehouse.runs import Run
from warehouse.statements import quoted, select


@contextmanager
def engine(run: Run) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of the run's own, with a view for each of its tables."""
    settings = get_settings()
    connection = duckdb.connect()
    try:
        connection.execute(f"SET memory_limit = '{settings.memory_limit}'")
        connection.execute(f"SET temp_directory = {quoted(str(run.staging / 'spill'))}")
        connection.execute(f"SET threads = {settings.workers}")
        for kind in tables.COLUMNS:
            connection.execute(f"CREATE VIEW {kind} AS {select(run.files(kind), kind)}")
        with naming_disk_errors(run.home.root):
            yield connection
    finally:
        connection.close()


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The single value that a query gives."""
    row = connection.execute(sql).fetchone()
    return None if row is None else row[0]


def stream(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """A query's rows as an Arrow stream, a row group at a time: whatever its length, only one is held.

    One stream at a time: of two that are read side by side from one DuckDB, one waited for ever (seen at 1.25 million
    rows, DuckDB 1.5.6).
    """
    return connection.execute(sql).to_arrow_reader(tables.ROW_GROUP)
