"""DuckDB as the engine of a run: in memory, spilling to the run's staging folder, over its tables' Parquet files."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from core.errors import NotShared, TableDamaged
from core.settings import get_settings
from warehouse import columns, tables
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
        for kind in columns.COLUMNS:
            _view(run, connection, kind)
        with naming_disk_errors(run.home.root):
            yield connection
    finally:
        connection.close()


def _view(run: Run, connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    try:
        connection.execute(f"CREATE VIEW {kind} AS {select(run.files(kind), kind)}")
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise TableDamaged(
            f"cannot be read: {' '.join(str(error).split())[:300]}",
            where=str(run.table(kind)),
            hint="restore it from a backup; what was published before is still there to read",
        ) from error


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The single value that a query gives."""
    row = connection.execute(sql).fetchone()
    return None if row is None else row[0]


def refuse_if_unseen(connection: duckdb.DuckDBPyConnection, folder: Path, kind: str, rows: int) -> None:
    """Raise NotShared unless the files of a kind in a folder have so many rows.

    Workers wrote them, and another machine's may be late, or lie on its own disk.
    """
    files = ", ".join(quoted(str(file)) for file in folder.glob(f"{kind}-*.parquet"))
    seen = one(connection, f"SELECT sum(num_rows) FROM parquet_file_metadata([{files}])") if files else 0
    if seen != rows:
        raise NotShared(
            f"workers wrote {rows:,} rows ({kind}), and {seen:,} are to be seen here",
            where=str(folder),
            hint="AISLE_HOME must be on a file system that shows at once what others wrote; run it again",
        )


def new_file(run: Run) -> Path:
    """Where in the run's staging folder a Parquet file may be written that is to become part of a Delta table."""
    folder = run.staging / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{secrets.token_hex(8)}.parquet"


def copied(run: Run, connection: duckdb.DuckDBPyConnection, sql: str, row_group: int = tables.ROW_GROUP) -> Path:
    """A query's rows as a Parquet file in the run's staging folder, ready to become part of a Delta table.

    Not an Arrow stream: read from a UNION over more than a million rows, that waited for ever (DuckDB 1.5.6), and a
    file is written by all cores.
    """
    path = new_file(run)
    with naming_disk_errors(run.home.root):
        connection.execute(
            f"COPY ({sql}) TO {quoted(str(path))} "
            f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {row_group})"
        )
    return path
