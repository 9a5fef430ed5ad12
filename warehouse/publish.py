"""Publishing: `warehouse.duckdb`, a file of views over recorded Parquet files, built beside and renamed into place.

Readers never meet a lock, and never see a run that has not been recorded. A reader that is open keeps what it opened.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from core.errors import TableDamaged
from warehouse import columns, tables
from warehouse.home import Home, naming_disk_errors, write_atomically
from warehouse.locks import locked
from warehouse.recorded import recorded
from warehouse.statements import column, quoted, select, view

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


@dataclass(frozen=True)
class Published:
    """What a publish wrote."""

    path: Path
    catalogs: list[str]
    views: list[str]


def publish(home: Home) -> Published:
    """Rebuild `warehouse.duckdb` from the last recorded version of every table of every catalogue."""
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
            versions = {catalog: recorded(home, catalog) for catalog in catalogs}
            for catalog, own in versions.items():
                refuse_if_forgotten(home, catalog, own)
            build(connection, home, versions)
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
        beside.replace(home.database)
        if noted and unpublished(home) == noted:  # else more was copied meanwhile
            _note_of(home).unlink()
    return Published(home.database, catalogs, list(VIEWS))


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


def build(
    connection: duckdb.DuckDBPyConnection,
    home: Home,
    versions: Mapping[str, Mapping[str, int]],
    until: datetime | None = None,
) -> None:
    """Make all views: over these versions of each catalogue's tables, and over all its runs, or those until a time."""
    connection.execute("CREATE SCHEMA tables")
    connection.execute("CREATE TABLE tables.published (catalog VARCHAR)")
    if recorded_ones := [catalog for catalog, own in versions.items() if own]:
        connection.executemany("INSERT INTO tables.published VALUES (?)", [[catalog] for catalog in recorded_ones])
    for kind in columns.COLUMNS:
        parts = []
        for catalog, own in versions.items():
            at = tables.version(home.table(catalog, kind)) if kind == "runs" else own.get(kind)
            if at is not None:
                parts.append(select(_files(home, catalog, kind, at), kind, catalog))
        parts = [*parts, select([], kind, "")]
        if kind == "runs" and until is not None:
            ended = f"finished_at <= TIMESTAMPTZ {quoted(until.isoformat())}"
            parts = [f"SELECT * FROM ({part}) WHERE {ended}" for part in parts]
        with _naming_table_errors(home, kind):
            parts = _agreeing(connection, parts, kind)
            connection.execute(
                f"CREATE VIEW tables.{kind} AS " + "\nUNION ALL BY NAME\n".join(f"({part})" for part in parts)
            )
    for name in VIEWS:
        connection.execute(view(name))


def refuse_if_forgotten(home: Home, catalog: str, versions: Mapping[str, int]) -> None:
    """Raise TableDamaged where a catalogue has tables and no recorded run, although one was published: its log is gone.

    Without its runs nothing says what may be read, and a new run would take all of it for what a killed one left.
    """
    if versions or not home.database.is_file() or catalog not in home.catalogs():
        return
    with duckdb.connect(str(home.database), read_only=True) as connection:
        try:
            known = connection.execute("SELECT catalog FROM tables.published").fetchall()
        except duckdb.CatalogException:  # written before this was kept
            return
    if (catalog,) in known:
        raise TableDamaged(
            f"runs of {catalog} were published, and there is no record of them any more",
            where=str(home.table(catalog, "runs")),
            hint=f"restore it from a backup; to begin anew, move {home.table(catalog, 'runs').parent} away first",
        )


@contextmanager
def _naming_table_errors(home: Home, kind: str) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if "no space left" in str(error).lower():
            raise  # a full disk has a name of its own
        raise TableDamaged(
            f"the tables {kind} cannot be read together: {' '.join(str(error).split())[:300]}",
            where=str(home.root),
            hint="restore them from a backup; the published warehouse was left as it was",
        ) from error


def _agreeing(connection: duckdb.DuckDBPyConnection, parts: list[str], kind: str) -> list[str]:
    """The selects, with a catalogue's own column as text where two disagree on its type: one brand here, a list there.

    Catalogues have columns of their own, fields and kept ones, in `products` alone. Every other column is ours.

    Args:
        connection: where to ask for types.
        parts: a select for each catalogue; the last is the declared shape.
        kind: of the tables.

    Raises:
        TableDamaged: one of our columns is not of its declared type.
    """
    shapes = [{name: type_ for name, type_, *_ in connection.execute(f"DESCRIBE {part}").fetchall()} for part in parts]
    types: dict[str, set[str]] = {}
    for shape in shapes:
        for name, type_ in shape.items():
            types.setdefault(name, set()).add(type_)
    clashing = {name for name, found in types.items() if len(found) > 1}
    ours = sorted(clashing if kind != "products" else clashing & set(shapes[-1]))
    if ours:
        raise TableDamaged(
            f"column {ours[0]} is {' here and '.join(sorted(types[ours[0]]))} there, and should be "
            f"{shapes[-1].get(ours[0], 'the same')}",
            where=f"tables {kind}",
            hint="restore them from a backup; the published warehouse was left as it was",
        )
    return [
        f"SELECT * REPLACE ({casts}) FROM ({part})"
        if (casts := ", ".join(f"{column(name)}::VARCHAR AS {column(name)}" for name in sorted(clashing & set(shape))))
        else part
        for part, shape in zip(parts, shapes, strict=True)
    ]


def _files(home: Home, catalog: str, kind: str, version: int) -> list[str]:
    path = home.table(catalog, kind)
    found = tables.files(path, version)
    gone = [file for file in found if not Path(file).is_file()]
    if gone:
        raise TableDamaged(
            f"{len(gone)} data file(s) of version {version} are missing, the first is {Path(gone[0]).name}",
            where=str(path),
            hint="restore them from a backup; the published warehouse was left as it was",
        )
    return found
