"""Upkeep: is everything there and whole; small files are written together, and those that nobody needs deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl

from classifier.artifact import load
from core.errors import AisleError
from core.settings import get_settings
from warehouse import registry, tables
from warehouse.home import Home
from warehouse.mirror import lost
from warehouse.query import query
from warehouse.recorded import readable, recorded_digests, recorded_runs, versions_of
from warehouse.runs import Run
from warehouse.spill import sweep
from warehouse.statements import quoted

MOST_SMALL_FILES = 8
"""A table is compacted when more of its files are smaller than half of what compaction makes."""

HOURS_A_DAY = 24

IN_COPY_ALONE = "is missing in the bucket; this machine still has its copy"
PUT_BACK = "restore it from a backup"


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written, and what to do."""

    where: str
    what: str
    hint: str


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong with it.

    Attributes:
        tables: how many tables of the catalogue,
        files: how many files of them,
        rows: how many rows, and
        models: how many models were read.
        damage: what of them is not as it was written.
        published: what is wrong with what people read, of all catalogues: the next run writes that anew.
    """

    tables: int = 0
    files: int = 0
    rows: int = 0
    models: int = 0
    damage: list[Damage] = field(default_factory=list)
    published: list[Damage] = field(default_factory=list)


@dataclass(frozen=True)
class Tidied:
    """What was written together (files before, and after) and what was deleted (files, and bytes), by kind of table."""

    compacted: dict[str, tuple[int, int]]
    deleted: dict[str, tuple[int, int]]


def check(home: Home, catalog: str) -> Checked:
    """Read every row of every table as last recorded, every file of every model against its digest, and the views."""
    try:
        gone = lost(home, catalog)
        versions = readable(home, catalog)
        digests = recorded_digests(home, catalog)
    except AisleError as error:
        return Checked(damage=[_damage(error, str(home.table(catalog, "runs")))])
    files = rows = 0
    damage: list[Damage] = []
    for kind, at in versions.items():
        path = home.table(catalog, kind)
        try:
            logged = tables.logged(path, at)
        except AisleError as error:
            damage.append(_damage(error, str(path)))
            continue
        files, rows = files + len(logged), rows + sum(file.rows for file in logged)
        wrong = {
            file.path: what
            for file in logged
            if (what := _wrong_with(file, gone, digests.get(f"{kind}/{file.path.name}")))
        }
        damage += [Damage(str(file), what, PUT_BACK) for file, what in wrong.items()]
    whole = not any(one.where.startswith(str(home.table(catalog, "models"))) for one in damage)
    models, found = _check_models(home, catalog, gone) if whole else (0, [])
    return Checked(len(versions), files, rows, models, [*damage, *found], list(_check_views(home)))


def _wrong_with(file: tables.LoggedFile, gone: set[Path], recorded: str | None) -> str | None:
    """What is wrong with a Parquet file; every value of it is read.

    Args:
        file: as its table's log has it.
        gone: files that the bucket has lost.
        recorded: its sha256, where that is not in its name.
    """
    if file.path in gone:
        return IN_COPY_ALONE
    if not file.path.is_file():
        return "is missing"
    if (size := file.path.stat().st_size) != file.bytes:
        return f"has {size:,} bytes, and was written with {file.bytes:,}"
    if (file.sha256 or recorded) not in {None, tables.sha256(file.path)}:
        return "is not the file that was written: its sha256 differs"
    # A sum over a hash of whole rows: a count alone would be taken from the file's own summary.
    sql = f"SELECT count(*), sum(hash(stored)) FROM read_parquet({quoted(str(file.path))}) AS stored"
    try:
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = {quoted(get_settings().memory_limit)}")
            rows, _ = connection.execute(sql).fetchall()[0]
    except duckdb.Error as error:
        return f"cannot be read: {' '.join(str(error).split())[:200]}"
    return None if rows == file.rows else f"has {rows:,} rows, and was written with {file.rows:,}"


def _check_models(home: Home, catalog: str, gone: set[Path]) -> tuple[int, list[Damage]]:
    """How many models there are, and what is wrong with them."""
    try:
        events = registry.published(home, catalog)
    except AisleError:
        return 0, []  # the table is damaged, which is told already
    trained = events.filter(pl.col("event") == "trained")
    damage: list[Damage] = []
    for version, digest in trained.select("version", "digest").iter_rows():
        folder = home.models(catalog) / version
        damage += [Damage(str(path), IN_COPY_ALONE, PUT_BACK) for path in sorted(gone) if folder in path.parents]
        try:
            if load(folder).digest != digest:
                damage.append(Damage(str(folder), "is not the model that was registered", "restore it from a backup"))
        except AisleError as error:
            damage.append(_damage(error, str(folder)))
    return trained.height, damage


def _check_views(home: Home) -> Iterator[Damage]:
    """Whether people can read what was published."""
    try:
        query(home, "SELECT count(*) FROM predictions")
    except AisleError as error:
        yield Damage(str(home.database), error.message, error.hint or "")


def _damage(error: AisleError, where: str) -> Damage:
    return Damage(error.where or where, error.message, error.hint or "")


def tidy(run: Run) -> Tidied:
    """Write small files together, and delete what no run needs that was recorded within the retention.

    The versions of the last run before that time stay too: they were current when it began. So does what people read
    through warehouse.duckdb, whenever they opened it since, and what is published now even without any retention.
    """
    settings = get_settings()
    sweep(run.home)
    runs = tables.version(run.table("runs"))  # which people read, until this run is published
    compacted, deleted = {}, {}
    for kind in [*run.versions, "runs"]:
        if _has_many_small_files(run, kind):
            compacted[kind] = run.compact(kind)
    keep = _needed(run, datetime.now(UTC) - timedelta(days=settings.retention_days))
    if runs is not None:
        keep["runs"] = [runs]
    for kind in [*run.versions, "runs"]:
        files, size = run.vacuum(kind, settings.retention_days * HOURS_A_DAY, keep.get(kind, []))
        if files:
            deleted[kind] = files, size
    return Tidied(compacted, deleted)


def _has_many_small_files(run: Run, kind: str) -> bool:
    at = tables.version(run.table(kind)) if kind == "runs" else run.versions[kind]
    logged = [] if at is None else tables.logged(run.table(kind), at)
    return sum(file.bytes < tables.COMPACTED_BYTES // 2 for file in logged) > MOST_SMALL_FILES


def _needed(run: Run, since: datetime) -> dict[str, list[int]]:
    """Versions of each table that were recorded from a time on, and by the last run before it."""
    runs = recorded_runs(run.home, run.catalog)
    before = runs.filter(pl.col("finished_at") < since).tail(1)
    needed: dict[str, set[int]] = {}
    for text in pl.concat([before, runs.filter(pl.col("finished_at") >= since)])["tables"]:
        for kind, at in versions_of(text).items():
            needed.setdefault(kind, set()).add(at)
    return {kind: sorted(found) for kind, found in needed.items()}
