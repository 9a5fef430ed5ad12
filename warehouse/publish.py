"""Publishing: `warehouse.duckdb`, a file of views over recorded Parquet files, built beside and renamed into place.

Readers never meet a lock, and never see a run that has not been recorded. A reader that is open keeps what it opened.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from core.errors import TableDamaged
from warehouse import columns, tables
from warehouse.home import Home, naming_disk_errors, write_atomically
from warehouse.locks import locked
from warehouse.recorded import readable, recorded_runs
from warehouse.statements import column, quoted, select, view

log = logging.getLogger("aisle.publish")

PUBLISH_WAIT_S = 120.0

VIEWS = (
    "products",
    "predictions",
    "predictions_history",
    "review_queue",
    "rejects",
    "conflicts",
    "conservation",
    "models",
    "gate_checks",
    "trials",
    "runs",
    "drift",
    "retraining",
    "labels",
    "policy",
)
"""Public views, each in warehouse/views/<name>.sql, in the order in which they build on each other."""


_RESTORE = (
    "restore it from a backup; the published warehouse was left as it was. Until then, the next run of any other "
    "catalogue, `aisle maintain` too, publishes without this one"
)


@dataclass(frozen=True)
class Published:
    """What a publish wrote."""

    path: Path
    catalogs: list[str]
    views: list[str]


def publish(home: Home, of: str | None = None) -> Published:
    """Rebuild `warehouse.duckdb` from the last recorded version of every table of every catalogue.

    Args:
        home: what is published.
        of: the catalogue whose run asks for it. Another one that is damaged stays as it was last published, or is left
            out where that cannot be read either: it must not hold up this one's night.

    Raises:
        TableDamaged: a table of that catalogue, or of any where none is named, cannot be read; nothing was published.
    """
    home.prepare()
    with locked(home.lock("publish"), wait_s=PUBLISH_WAIT_S, what="publishing"), naming_disk_errors(home.root):
        noted = unpublished(home)
        beside = home.database.with_name(f".{home.database.name}.new")
        # What a killed publish left, its log too: DuckDB would play that into the new file.
        for left in (beside, beside.with_name(f"{beside.name}.wal")):
            left.unlink(missing_ok=True)
        catalogs = home.catalogs()
        connection = duckdb.connect(str(beside))
        try:
            parts = {catalog: _newest(connection, home, catalog, of) for catalog in catalogs}
            build(connection, {catalog: own for catalog, own in parts.items() if own is not None})
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
        beside.replace(home.database)
        if noted and unpublished(home) == noted:  # else more was copied meanwhile
            _note_of(home).unlink()
    return Published(home.database, catalogs, list(VIEWS))


def is_published(home: Home, catalog: str) -> bool:
    """Whether people see the last recorded run of a catalogue: one that was killed may not have come to publishing."""
    last = readable(home, catalog).get("runs")
    if last is None:
        return True
    told = (_told(home, catalog) or {}).get("runs")
    return told == select(_files(home, catalog, "runs", last), "runs", catalog)


def _told(home: Home, catalog: str) -> dict[str, str] | None:
    """What people read of a catalogue now: by kind of table the select that gives its rows. None where that is nothing,
    or cannot be told.
    """
    try:
        with duckdb.connect(str(home.database), read_only=True) as connection:
            rows = connection.execute(
                f"SELECT kind, sql FROM tables.published WHERE catalog = {quoted(catalog)}"
            ).fetchall()
    except duckdb.Error:  # no database (yet), none of ours, or written before this was kept
        return None
    return {kind: sql for kind, sql in rows if kind is not None} if rows else None


def note_unpublished(home: Home) -> None:
    """Note that the tables change, so that the next who reads publishes them, should nobody come to it before."""
    write_atomically(_note_of(home), secrets.token_hex(8))


def unpublished(home: Home) -> str | None:
    """The last such note, if nothing was published since."""
    try:
        return _note_of(home).read_text()
    except FileNotFoundError:
        return None


def _note_of(home: Home) -> Path:
    return home.root / "unpublished"


@dataclass(frozen=True)
class Part:
    """One catalogue's rows of one kind: the select that gives them, and its columns' types by name."""

    sql: str
    types: dict[str, str]


Parts = Mapping[str, Part]
"""A catalogue's rows by kind of table."""


def parts_of(connection: duckdb.DuckDBPyConnection, home: Home, catalog: str, versions: Mapping[str, int]) -> Parts:
    """A catalogue's rows at these versions of its tables.

    Raises:
        TableDamaged: one of them cannot be read.
    """
    return {
        kind: _part(connection, kind, select(_files(home, catalog, kind, at), kind, catalog), home.table(catalog, kind))
        for kind, at in versions.items()
        if kind in columns.COLUMNS
    }


def build(connection: duckdb.DuckDBPyConnection, parts: Mapping[str, Parts], until: datetime | None = None) -> None:
    """Make all views over catalogues' rows, and over all their runs, or those until a time."""
    connection.execute("CREATE SCHEMA tables")
    connection.execute("CREATE TABLE tables.published (catalog VARCHAR, kind VARCHAR, sql VARCHAR)")
    for catalog, own in parts.items():
        # No parameters: for the first one that it is given, DuckDB imports pandas and pyarrow, which takes a second.
        told = [f"({quoted(catalog)}, {quoted(kind)}, {quoted(part.sql)})" for kind, part in own.items()]
        rows = ", ".join(told or [f"({quoted(catalog)}, NULL, NULL)"])
        connection.execute(f"INSERT INTO tables.published VALUES {rows}")
    for kind in columns.COLUMNS:
        found = _agreeing([own[kind] for own in parts.values() if kind in own])
        if kind == "runs" and until is not None:
            ended = f"finished_at <= TIMESTAMPTZ {quoted(until.isoformat())}"
            found = [f"SELECT * FROM ({part}) WHERE {ended}" for part in found]
        every = "\nUNION ALL BY NAME\n".join(f"({part})" for part in [*found, select([], kind, "")])
        connection.execute(f"CREATE VIEW tables.{kind} AS {every}")
    for name in VIEWS:
        connection.execute(view(name))


def _newest(connection: duckdb.DuckDBPyConnection, home: Home, catalog: str, of: str | None) -> Parts | None:
    """What is to be published of a catalogue; None where no run was ever recorded."""
    try:
        versions = readable(home, catalog)
        refuse_if_forgotten(home, catalog, versions)
        return parts_of(connection, home, catalog, versions) if versions else None
    except TableDamaged as error:
        if of in {None, catalog}:
            raise
        log.warning("catalogue %s is damaged: %s", catalog, error)
        return _as_published(connection, home, catalog)


def _as_published(connection: duckdb.DuckDBPyConnection, home: Home, catalog: str) -> Parts:
    """A catalogue's rows as the file has them that people read now; none where that cannot be read either."""
    told = _told(home, catalog)
    if told is not None:
        with suppress(duckdb.Error, TableDamaged):
            return {kind: _part(connection, kind, sql, home.table(catalog, kind)) for kind, sql in told.items()}
    log.warning("catalogue %s is left out of what is published until it is restored", catalog)
    return {}


def refuse_if_forgotten(home: Home, catalog: str, versions: Mapping[str, int]) -> None:
    """Raise TableDamaged where a catalogue has tables and no recorded run, although one was published: its log is gone.

    Without its runs nothing says what may be read, and a new run would take all of it for what a killed one left.
    """
    if versions or not home.database.is_file() or catalog not in home.catalogs():
        return
    if recorded_runs(home, catalog).height:  # none of which has written anything yet
        return
    if _told(home, catalog) is not None:
        raise TableDamaged(
            f"runs of {catalog} were published, and there is no record of them any more",
            where=str(home.table(catalog, "runs")),
            hint=f"restore it from a backup; to begin anew, move {home.table(catalog, 'runs').parent} away first",
        )


def _part(connection: duckdb.DuckDBPyConnection, kind: str, sql: str, where: Path) -> Part:
    try:
        types = _types(connection, sql)
    except duckdb.Error as error:
        if "no space left" in str(error).lower():
            raise  # a full disk has a name of its own
        what = f"cannot be read: {' '.join(str(error).split())[:300]}"
        raise TableDamaged(what, where=str(where), hint=_RESTORE) from error
    declared = _types(connection, select([], kind, ""))
    if odd := sorted(name for name, type_ in declared.items() if types.get(name) != type_):
        what = f"column {odd[0]} is {types.get(odd[0], 'missing')}, and should be {declared[odd[0]]}"
        raise TableDamaged(what, where=str(where), hint=_RESTORE)
    return Part(sql, types)


def _types(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    return {name: type_ for name, type_, *_ in connection.execute(f"DESCRIBE {sql}").fetchall()}


def _agreeing(parts: list[Part]) -> list[str]:
    """The selects, with a catalogue's own column as text where two disagree on its type: one brand here, a list there.

    Catalogues have columns of their own, fields and kept ones. To SQL `Brand` and `brand` are one column.
    """
    types: dict[str, set[str]] = {}
    for part in parts:
        for name, type_ in part.types.items():
            types.setdefault(name.lower(), set()).add(type_)
    clashing = {name for name, found in types.items() if len(found) > 1}
    return [
        f"SELECT * REPLACE ({casts}) FROM ({part.sql})"
        if (casts := ", ".join(_as_text(name) for name in sorted(part.types) if name.lower() in clashing))
        else part.sql
        for part in parts
    ]


def _as_text(name: str) -> str:
    return f"{column(name)}::VARCHAR AS {column(name)}"


def _files(home: Home, catalog: str, kind: str, version: int) -> list[str]:
    path = home.table(catalog, kind)
    found = tables.files(path, version)
    gone = [file for file in found if not Path(file).is_file()]
    if gone:
        raise TableDamaged(
            f"{len(gone)} data file(s) of version {version} are missing, the first is {Path(gone[0]).name}",
            where=str(path),
            hint=_RESTORE,
        )
    return found
