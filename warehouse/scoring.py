"""Which current products a model has not answered for, and storing its answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import duckdb
import polars as pl

from catalogs.spec import CatalogSpec
from core.errors import SpecInvalid
from core.settings import get_settings
from warehouse import columns, tables
from warehouse.engine import copied, engine, one, refuse_if_unseen
from warehouse.home import beside
from warehouse.registry import ModelRecord
from warehouse.runs import Run
from warehouse.statements import quoted, statement

_BATCHES = 2
"""Batches of a partition: its rows have neither `raw` nor what it was parsed to, so as many again fit."""

MOST_FILES = 256
"""Files that a scoring adds to a table at most: SQL opens every one of them."""


class Predicts(Protocol):
    """What scoring asks of a model."""

    def predict(self, frame: pl.DataFrame, *, threads: int | None = None) -> pl.DataFrame:
        """Label, label_path, confidence, runner_up and reasons for each row, in order, on so many threads."""
        ...


@dataclass(frozen=True)
class Window:
    """A time in which products were stored, its ends included."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Partition:
    """A range of product versions to score: small enough for memory, named by plain paths so that it can travel.

    `beside` is how many of them a machine works on at once, this one included: they share its cores. What comes of it
    is a file for each table of `outs`, which becomes a part of it.
    """

    number: int
    beside: int
    first_seq: int
    last_seq: int
    products: list[str]
    todo: str
    fields: list[str]
    outs: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """What a scoring has to do.

    Attributes:
        model: whose answers are asked for.
        partitions: what it has not answered for.
        todo: rows in them.
        reused: rows that it answered for before.
        window: only what was stored then, current or not; None: all that is current.
        replaces: whether its answers become current ones, or are kept in the history alone.
        notes: what is to be told of the model.
    """

    model: ModelRecord
    partitions: list[Partition]
    todo: int
    reused: int
    window: Window | None = None
    replaces: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Rows to score, and rows whose answer is known."""
        return {"scored": self.todo, "reused": self.reused}


def plan(
    run: Run, model: ModelRecord, spec: CatalogSpec, window: Window | None = None, *, replaces: bool = True
) -> Plan:
    """Partition the products that `model` has not answered for in their present form.

    With a `window`, what was stored then: each form of each product, in its last version, whether it is current or not.
    """
    refuse_unstored_fields(run, spec)
    folder = run.staging / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    todo_file = folder / "todo.parquet"
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE model_digest = {quoted(model.digest)}")
        if window is None:
            connection.execute(statement("plan_scoring"))
        else:
            connection.execute(f"SET VARIABLE since = TIMESTAMPTZ {quoted(window.since.isoformat())}")
            connection.execute(f"SET VARIABLE until = TIMESTAMPTZ {quoted(window.until.isoformat())}")
            connection.execute(statement("plan_backfill"))
        # In whatever order they come: keeping it would hold in memory what is wide.
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(
            f"COPY reused TO {quoted(str(folder / 'reused.parquet'))} "
            f"(FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {tables.SMALL_ROW_GROUP})"
        )
        connection.execute(
            f"COPY (FROM todo ORDER BY seq) TO {quoted(str(todo_file))} "
            f"(FORMAT parquet, COMPRESSION uncompressed, ROW_GROUP_SIZE {tables.ROW_GROUP})"
        )
        rows, planned = _BATCHES * get_settings().batch_rows, f"read_parquet({quoted(str(todo_file))})"
        bounds = connection.execute(
            f"SELECT min(seq), max(seq) FROM (SELECT seq, (row_number() OVER (ORDER BY seq) - 1) // {rows} AS part "
            f"FROM {planned}) GROUP BY part ORDER BY part"
        ).fetchall()
        counts = one(connection, f"SELECT count(*) FROM {planned}"), one(connection, "SELECT count(*) FROM known")
    shared = (run.files("products"), str(todo_file), [field.name for field in spec.fields])
    partitions = [
        Partition(i, _at_once(i, len(bounds)), first, last, *shared, _outs(folder, i, replaces))
        for i, (first, last) in enumerate(bounds)
    ]
    return Plan(model, partitions, *counts, window, replaces)


def _outs(folder: Path, number: int, replaces: bool) -> dict[str, str]:
    """Where a partition's scores are to be written, and its rows of the state if they become current."""
    kinds = ("scores", "state") if replaces else ("scores",)
    return {kind: str(folder / f"{kind}-{number:06d}.parquet") for kind in kinds}


def _at_once(number: int, partitions: int) -> int:
    """How many partitions a machine works on beside this one, and with it: the last ones may be fewer."""
    settings = get_settings()
    if settings.runner == "dask" and settings.dask_address is not None:
        return 1  # how many share a machine, its scheduler knows
    most = min(settings.workers, partitions)
    last = partitions % most
    return last if number >= partitions - last else most


def score_partition(part: Partition, model: Predicts, record: ModelRecord, run_id: str) -> int:
    """Score one partition into its staging files; returns its rows. Done again, each is written again as a whole."""
    inside = pl.col("seq").is_between(part.first_seq, part.last_seq)
    todo = pl.scan_parquet(part.todo).filter(inside).collect()
    rows = _with_fields(todo, part.products, part.fields)
    threads = max(1, (os.cpu_count() or 1) // part.beside)
    answers = model.predict(rows.select(part.fields), threads=threads)
    scored = todo.with_columns(
        answers["label"],
        answers["label_path"],
        answers["confidence"],
        answers["confidence_path"],
        answers["runner_up"],
        answers["reasons"].cast(columns.REASONS),
        pl.lit(record.version).alias("model_version"),
        pl.lit(record.digest).alias("model_digest"),
        pl.lit(run_id).alias("scored_run_id"),
        pl.lit(datetime.now(UTC), dtype=columns.TIME).alias("scored_at"),
    )
    for kind, file in part.outs.items():
        with beside(Path(file)) as out:
            tables.write_parquet(scored.select(*columns.COLUMNS[kind]), out)
    return scored.height


def store(run: Run, done: Plan) -> None:
    """Commit the answers of all partitions: to `scores` for ever, and to the state if they replace what is there.

    Raises:
        NotShared: answers of partitions are not to be seen here.
    """
    run.counts["scored"] = done.todo
    run.model_version = done.model.version
    if not done.todo and not done.reused:
        return
    with engine(run) as connection:
        for kind in done.partitions[0].outs if done.partitions else ():
            refuse_if_unseen(connection, run.staging / "scores", kind, done.todo)
        if done.partitions:
            run.append("scores", *_few(run, connection, [part.outs["scores"] for part in done.partitions]))
        if done.replaces:
            run.overwrite("state", *_new_state(run, done, connection))


def _new_state(run: Run, done: Plan, connection: duckdb.DuckDBPyConnection) -> list[Path]:
    """Files of the new state: what no partition has, copied, and what the partitions have, as they left it."""
    folder = run.staging / "scores"
    for name in ("todo", "reused"):
        connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({quoted(str(folder / f'{name}.parquet'))})")
    parts = [part.outs["state"] for part in done.partitions]
    if done.window is not None and parts:  # what was stored then may not be current any more
        scored = [copied(run, connection, f"{_rows(parts)} SEMI JOIN state USING (seq)")]
    else:
        scored = _few(run, connection, parts)
        if parts and one(connection, "SELECT count(*) FROM state") == done.todo:
            return scored
    return [copied(run, connection, statement("other_state")), *scored]


def _few(run: Run, connection: duckdb.DuckDBPyConnection, parts: list[str]) -> list[Path]:
    """What partitions have written, as they left it, or several together where there are too many."""
    together = -(-len(parts) // MOST_FILES)
    if together <= 1:
        return list(map(Path, parts))
    groups = [parts[start : start + together] for start in range(0, len(parts), together)]
    return [copied(run, connection, _rows(group)) for group in groups]


def _rows(parts: list[str]) -> str:
    return f"FROM read_parquet([{', '.join(map(quoted, parts))}])"


def refuse_unstored_fields(run: Run, spec: CatalogSpec) -> None:
    """Raise SpecInvalid when the catalogue's TOML names a field that no stored product has."""
    stored = run.scan("products").collect_schema().names()
    if run.files("products") and (absent := [field.name for field in spec.fields if field.name not in stored]):
        raise SpecInvalid(
            f"no stored product of {spec.name} has the field {', '.join(absent)}",
            where=f"catalogue {spec.name}, fields",
            hint="it is new in the TOML: ingest the source again, then train",
        )


def training_rows(run: Run, spec: CatalogSpec) -> pl.DataFrame:
    """Labelled current products in first-seen order: ids, hashes, fields. A person's label wins over the source's."""
    refuse_unstored_fields(run, spec)
    if not run.files("products"):
        return tables.empty("state")
    with engine(run) as connection:
        connection.execute("SET preserve_insertion_order = false")
        labelled = connection.execute(statement("training_rows")).pl().sort("first_seq")
    fields = [field.name for field in spec.fields]
    return _with_fields(labelled, run.files("products"), fields).drop("seq", "first_seq")


def _with_fields(rows: pl.DataFrame, products: list[str], fields: list[str]) -> pl.DataFrame:
    """Rows that name product versions by `seq`, in their order, with the fields of those.

    Polars joins them: texts are not copied, and DuckDB would need room for all of them within its limit.
    """
    inside = pl.col("seq").is_between(rows["seq"].min(), rows["seq"].max())
    # Earlier versions and products that are not asked for lie in the same range: they must not fill the memory.
    found = (
        tables.scan_files(products)
        .filter(inside)
        .select("seq", *fields)
        .join(rows.lazy().select("seq"), on="seq", how="semi")
        .collect(engine="streaming")
    )
    return rows.join(found, on="seq", how="left", maintain_order="left")
