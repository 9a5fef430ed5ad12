"""Reading the warehouse with SQL: one SELECT or EXPLAIN, no writing, no file outside the home."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from core.errors import NothingPublished, QueryRefused
from warehouse.home import Home
from warehouse.past import open_past
from warehouse.spill import reader
from warehouse.statements import quoted

_EXPLAIN_OPTIONS = {b"analyze", b"format"}
"""Words that open the option list of an EXPLAIN: any other bracket behind it belongs to the query."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def as_dicts(self) -> list[dict[str, Any]]:
        """One dictionary a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def connect(home: Home) -> duckdb.DuckDBPyConnection:
    """A read-only connection to what was last published, which can open no file outside the home.

    Raises:
        NothingPublished: no run has been published yet.
        QueryRefused: what was published cannot be opened.
    """
    database = published(home)
    connection = reader(home)
    try:
        try:
            # Attached, not opened: what is set here would hold for every connection of this process to that file.
            connection.execute(f"ATTACH {quoted(str(database))} AS warehouse (READ_ONLY)")
        except duckdb.Error as error:
            said = _first_lines(error).replace(str(home.root), "AISLE_HOME")  # clients of the API are told, too
            hint = "run `aisle publish`, which writes it anew from the tables"
            what = f"what was published cannot be opened: {said}"
            raise QueryRefused(what, where=str(database), hint=hint) from error
        connection.execute("USE warehouse")
        _confine(connection, home)
    except BaseException:
        connection.close()
        raise
    return connection


def _confine(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    connection.execute(f"SET allowed_directories = [{quoted(str(home.root) + '/')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")


@contextmanager
def _connect_to_past(home: Home, then: datetime) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_past(home, then) as connection:
        _confine(connection, home)
        yield connection


def published(home: Home) -> Path:
    """The file of views.

    Raises:
        NothingPublished: no run has been published yet.
    """
    home.check()
    if not home.database.is_file():
        raise NothingPublished(
            "nothing has been published yet", where=str(home.database), hint="run `aisle run CATALOG SOURCE` first"
        )
    return home.database


@contextmanager
def naming_sql_errors(where: str = "sql") -> Iterator[None]:
    """Turn what DuckDB says into a named error."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryRefused(_first_lines(error), where=where, hint=_hint(error)) from error


def query(home: Home, sql: str, then: datetime | None = None) -> Answer:
    """Run one statement that only reads.

    Args:
        home: what to read.
        sql: the statement.
        then: read the warehouse as it was at this time.

    Raises:
        QueryRefused: more than one statement, one that does more than read, or one that fails.
        NothingPublished: there is nothing to read yet, or was nothing then.
        NotKept: files of that time have been removed since.
    """
    with connect(home) if then is None else _connect_to_past(home, then) as connection, naming_sql_errors():
        _only_reads(connection, sql)
        result = connection.execute(sql)
        return Answer([column[0] for column in result.description or []], result.fetchall())


def _only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    # Parsing reads files, too: those that an IMPORT names. So a confined connection has to do it.
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryRefused("the query is empty", where="sql", hint="for example: SELECT * FROM predictions LIMIT 20")
    if len(statements) != 1:
        raise QueryRefused(f"{len(statements)} statements; give exactly one", where="sql", hint="run them one by one")
    kind = _explained(connection, statements[0])
    if kind != duckdb.StatementType.SELECT:
        raise QueryRefused(
            f"{kind.name} does more than read",
            where="sql",
            hint="allowed are SELECT, and EXPLAIN, DESCRIBE, SUMMARIZE and SHOW",
        )


def _explained(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> duckdb.StatementType:
    """The statement's type; of an EXPLAIN, that of what it explains: EXPLAIN ANALYZE runs it."""
    if statement.type != duckdb.StatementType.EXPLAIN:
        return statement.type
    inner = connection.extract_statements(_without_explain(statement.query))
    return inner[0].type if len(inner) == 1 else statement.type


def _without_explain(sql: str) -> str:
    """What an EXPLAIN explains. DuckDB itself says where words start: comments nest, and hide what looks like words.

    Whatever is not understood here stays an EXPLAIN, or no SQL at all: both are refused.
    """
    raw = sql.encode()  # its offsets count bytes
    starts = [offset for offset, _ in duckdb.tokenize(sql)]
    words = [_word(raw[offset:]) for offset in starts]
    behind = 1 if words[:1] == [b"explain"] else 0
    if behind and words[1:2] == [b"analyze"]:
        behind = 2
    elif behind and words[1:2] == [b"("] and words[2:3] and words[2] in _EXPLAIN_OPTIONS and b")" in words:
        behind = words.index(b")") + 1
    return raw[starts[behind] :].decode() if behind < len(starts) else ""


def _word(raw: bytes) -> bytes:
    """The word or sign that bytes start with, in lower case."""
    found = re.match(rb"\w+", raw)
    return found[0].lower() if found else raw[:1]


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _hint(error: Exception) -> str:
    if isinstance(error, duckdb.PermissionException):
        return "SQL reads nothing outside AISLE_HOME; if the home was moved, run `aisle publish` once"
    if isinstance(error, duckdb.OutOfMemoryException):
        return "raise AISLE_MEMORY_LIMIT, or ask for less at once"
    if isinstance(error, duckdb.IOException):
        return (
            "a data file is missing or unreadable: `aisle maintain` says which, to be restored from a backup; "
            "until then, the next run of any other catalogue publishes without the damaged one"
        )
    return "see docs/warehouse.md for the views and their columns, or run: aisle sql 'SHOW TABLES'"
