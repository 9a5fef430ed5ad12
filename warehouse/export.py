"""Predictions as one file that stands alone: Parquet, CSV or DuckDB, or as an outside contract wants them.

The file appears complete or not at all: it is written beside its place and renamed into it.
"""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from catalogs.product import PATH_SEPARATOR
from catalogs.spec import CatalogSpec
from core.errors import NothingPublished, UsageError, closest
from core.settings import get_settings
from warehouse.home import Home, naming_disk_errors
from warehouse.query import naming_sql_errors, published
from warehouse.statements import column, quoted

__all__ = [
    "CONTRACT_FILES",
    "FORMATS",
    "Exported",
    "Filters",
    "Format",
    "appearing",
    "export",
    "export_contract",
    "published_views",
]

Format = Literal["parquet", "csv", "duckdb"]
FORMATS: dict[str, Format] = {".parquet": "parquet", ".csv": "csv", ".duckdb": "duckdb"}
"""Format by the ending of a file's name."""

CONTRACT_FILES = {"asos": "predictions_test_text.csv"}
"""Contracts that have a file, and what it is called."""

# CSV has no lists: they are written as JSON.
_NESTED = ("label_path", "predicted_path", "confidence_path", "reasons")


@dataclass(frozen=True)
class Filters:
    """Which predictions are exported.

    Attributes:
        decision: only `accepted` or `review`.
        labels: only these labels; of a label path also what lies below.
        least: only from this confidence on.
        unlabelled: only products without a label in the source.

    Raises:
        UsageError: `least` is not a finite number.
    """

    decision: str | None = None
    labels: tuple[str, ...] = ()
    least: float | None = None
    unlabelled: bool = False

    def __post_init__(self) -> None:
        if self.least is not None and not math.isfinite(self.least):
            raise UsageError(
                f"'{self.least}' is no confidence", where="--min-confidence", hint="give a number from 0 to 1"
            )

    def sql(self, catalog: str) -> str:
        """The condition on the view `predictions`."""
        conditions = [f"predictions.catalog = {quoted(catalog)}"]
        if self.decision is not None:
            conditions.append(f"decision = {quoted(self.decision)}")
        if self.labels:
            below = [
                f"label = {quoted(one)} OR starts_with(label, {quoted(one + PATH_SEPARATOR)})" for one in self.labels
            ]
            conditions.append(f"({' OR '.join(below)})")
        if self.least is not None:
            conditions.append(f"confidence >= {self.least!r}")
        if self.unlabelled:
            conditions.append("predictions.known_label IS NULL")
        return " AND ".join(conditions)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    format: str
    rows: int


def export(home: Home, catalog: str, path: Path, kind: Format, filters: Filters, *, replace: bool = False) -> Exported:
    """Write a catalogue's current predictions.

    Args:
        home: where they lie.
        catalog: whose predictions.
        path: the file to write.
        kind: its format.
        filters: which of them.
        replace: whether a file that is there may be replaced.

    Raises:
        UsageError: the file is there already, or its folder is not; or there is no such label.
        NothingPublished: nothing is stored of this catalogue.
    """
    chosen = f"SELECT * FROM predictions WHERE {filters.sql(catalog)}"
    with appearing(home, path, replace=replace) as beside, published_views(home, catalog, beside) as connection:
        if filters.labels:
            _refuse_unknown(connection, catalog, filters.labels)
        if kind == "duckdb":
            connection.execute(f"ATTACH {quoted(str(beside))} AS exported")
            connection.execute(f"CREATE TABLE exported.predictions AS {chosen}")
            rows = _count(connection, "exported.predictions")
            connection.execute("DETACH exported")
        else:
            nested = ", ".join(f"to_json({name})::VARCHAR AS {name}" for name in _NESTED)
            given = chosen.replace("*", f"* REPLACE ({nested})", 1) if kind == "csv" else chosen
            rows = _copy(connection, given, beside, "csv, HEADER" if kind == "csv" else "parquet, COMPRESSION zstd")
    return Exported(path, kind, rows)


def export_contract(home: Home, spec: CatalogSpec, path: Path, *, replace: bool = False) -> Exported:
    """Write what the prototype of the contract `asos` writes: its label for every product that came without one.

    That file is a pandas Series without a name, written by its `to_csv`: the id's column, then a column called `0`.
    Rows stand in the order in which they were first stored, which is that of the source.

    Raises:
        UsageError, NothingPublished: as for `export`.
    """
    own = f"catalog = {quoted(spec.name)}"
    chosen = (
        f'SELECT product_id AS {column(spec.id or "product_id")}, predictions.label AS "0" FROM predictions JOIN '
        f"(SELECT product_id, first_seq FROM tables.state WHERE {own}) USING (product_id) "
        f"WHERE {Filters(unlabelled=True).sql(spec.name)} ORDER BY first_seq"
    )
    with appearing(home, path, replace=replace) as beside, published_views(home, spec.name, beside) as connection:
        rows = _copy(connection, chosen, beside, "csv, HEADER")
    return Exported(path, "csv", rows)


_KNOWN = """
SELECT DISTINCT label FROM (
    SELECT catalog, unnest([label, array_to_string(predicted_path, ' > ')]) AS label FROM predictions
    UNION ALL SELECT catalog, known_label FROM products
    UNION ALL SELECT catalog, label FROM policy
) WHERE label IS NOT NULL AND catalog =
"""
"""Labels of a catalogue: answers, those of the source, and all that a model could have answered."""


def _refuse_unknown(connection: duckdb.DuckDBPyConnection, catalog: str, labels: tuple[str, ...]) -> None:
    """Raise UsageError for a label that neither a product nor a model has, and that none lies below: it is misspelt."""
    known: set[str] = set()
    for (label,) in connection.execute(f"{_KNOWN} {quoted(catalog)}").fetchall():
        path = label.split(PATH_SEPARATOR)
        known |= {PATH_SEPARATOR.join(path[:depth]) for depth in range(1, len(path) + 1)}
    for label in labels:
        if label not in known:
            close = closest(label, known)
            listed = f"aisle sql \"SELECT DISTINCT label FROM policy WHERE catalog = '{catalog}'\" lists the model's"
            hint = f"did you mean {' or '.join(close)}?" if close else listed
            raise UsageError(f"{catalog} has no label '{label}'", where="--label", hint=hint)


def _copy(connection: duckdb.DuckDBPyConnection, sql: str, path: Path, how: str) -> int:
    copied = connection.execute(f"COPY ({sql}) TO {quoted(str(path))} (FORMAT {how})").fetchone()
    return int(copied[0]) if copied else 0


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    counted = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(counted[0]) if counted else 0


@contextmanager
def appearing(home: Home, path: Path, *, replace: bool) -> Iterator[Path]:
    """A place beside `path`, renamed to it when the block ends without an error.

    Raises:
        UsageError: the file is there already and may not be replaced, its folder is not, or it is in the home.
    """
    _refuse_unless_free(home, path, replace=replace)
    # Never a name that an export which was killed left behind: DuckDB would open that file and go on with it.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    beside.unlink(missing_ok=True)
    try:
        with naming_disk_errors(path):
            yield beside
            _refuse_unless_free(home, path, replace=replace)  # somebody may have written it meanwhile
            beside.replace(path)
    finally:
        for left in (beside, beside.with_name(f"{beside.name}.wal")):
            left.unlink(missing_ok=True)


def _refuse_unless_free(home: Home, path: Path, *, replace: bool) -> None:
    if path.is_dir():
        raise UsageError("is a folder", where=str(path), hint="name a file in it")
    if path.exists() and not replace:
        raise UsageError("is there already", where=str(path), hint="name another file, or replace it with --force")
    if home.root.resolve() in path.resolve().parents:
        raise UsageError("is in AISLE_HOME, whose files are Aisle's own", where=str(path), hint="name another folder")
    if not path.parent.is_dir():
        raise UsageError("there is no such folder", where=str(path.parent), hint="make it first")


@contextmanager
def published_views(home: Home, catalog: str, beside: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the published views, within its memory limit. The SQL is our own: nothing of it is a person's.

    Args:
        home: where they lie.
        catalog: of which something has to be stored.
        beside: what is spilled to disk lies beside this file.

    Raises:
        NothingPublished: nothing is stored of this catalogue.
    """
    database = published(home)
    if catalog not in home.catalogs():
        raise NothingPublished(
            f"nothing is stored of catalogue {catalog}",
            where=str(home.root),
            hint=f"run `aisle run {catalog} SOURCE` first",
        )
    spill = beside.with_name(f"{beside.name}.spill")
    with duckdb.connect() as connection, naming_sql_errors(f"export of {catalog}"):
        try:
            connection.execute(f"SET memory_limit = {quoted(get_settings().memory_limit)}")
            connection.execute(f"SET temp_directory = {quoted(str(spill))}")
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"ATTACH {quoted(str(database))} AS published (READ_ONLY)")
            connection.execute("USE published")
            yield connection
        finally:
            shutil.rmtree(spill, ignore_errors=True)
