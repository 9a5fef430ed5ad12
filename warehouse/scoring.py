"""Which current products a model has not answered for, and storing its answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from catalogs.spec import CatalogSpec
from classifier.holdout import holdout_bound
from core.errors import SpecInvalid
from core.settings import get_settings
from warehouse import tables
from warehouse.engine import copied, engine, one
from warehouse.registry import ModelRecord
from warehouse.runs import Run
from warehouse.statements import column, quoted, statement

_ANSWER = ", ".join(tables.PREDICTION)


class Predicts(Protocol):
    """What scoring asks of a model."""

    def predict(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Label, label_path, confidence, runner_up and reasons for each row, in order."""
        ...


@dataclass(frozen=True)
class Partition:
    """A range of product versions to score: small enough for memory, named by plain paths so that it can travel."""

    number: int
    first_seq: int
    last_seq: int
    products: list[str]
    todo: str
    fields: list[str]
    out: str


@dataclass(frozen=True)
class Plan:
    """What a scoring has to do. `reused` rows were answered by this model before."""

    model: ModelRecord
    partitions: list[Partition]
    todo: int
    reused: int

    @property
    def counts(self) -> dict[str, int]:
        """Rows to score, and rows whose answer is known."""
        return {"scored": self.todo, "reused": self.reused}


def plan(run: Run, model: ModelRecord, spec: CatalogSpec) -> Plan:
    """Partition the products that `model` has not answered for in their present form."""
    _refuse_unstored_fields(run, spec)
    folder = run.staging / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    todo_file = folder / "todo.parquet"
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE model_digest = {quoted(model.digest)}")
        connection.execute(statement("plan_scoring"))
        connection.execute(f"COPY reused TO {quoted(str(folder / 'reused.parquet'))} (FORMAT parquet)")
        connection.execute(
            f"COPY (FROM todo ORDER BY seq) TO {quoted(str(todo_file))} "
            f"(FORMAT parquet, ROW_GROUP_SIZE {tables.ROW_GROUP})"
        )
        rows = get_settings().batch_rows
        bounds = connection.execute(
            f"SELECT min(seq), max(seq) FROM (SELECT seq, (row_number() OVER (ORDER BY seq) - 1) // {rows} AS part "
            "FROM todo) GROUP BY part ORDER BY part"
        ).fetchall()
        counts = one(connection, "SELECT count(*) FROM todo"), one(connection, "SELECT count(*) FROM reused")
    products = run.files("products")
    fields = [field.name for field in spec.fields]
    partitions = [
        Partition(i, first, last, products, str(todo_file), fields, str(folder / f"part-{i:06d}.parquet"))
        for i, (first, last) in enumerate(bounds)
    ]
    return Plan(model, partitions, *counts)


def score_partition(part: Partition, model: Predicts, record: ModelRecord, run_id: str) -> int:
    """Score one partition into its staging file; returns its rows."""
    inside = pl.col("seq").is_between(part.first_seq, part.last_seq)
    todo = pl.scan_parquet(part.todo).filter(inside).collect()
    # Earlier versions and products that need no answer lie in the same range: they must not fill the memory.
    frame = (
        pl.scan_parquet(part.products, missing_columns="insert", extra_columns="ignore")
        .filter(inside)
        .select("seq", *part.fields)
        .join(todo.lazy().select("seq"), on="seq", how="semi")
        .collect(engine="streaming")
    )
    rows = todo.join(frame, on="seq", how="left", maintain_order="left")
    answers = model.predict(rows.select(part.fields))
    scored = todo.with_columns(
        answers["label"],
        answers["label_path"],
        answers["confidence"],
        answers["confidence_path"],
        answers["runner_up"],
        answers["reasons"].cast(tables.REASONS),
        pl.lit(record.version).alias("model_version"),
        pl.lit(record.digest).alias("model_digest"),
        pl.lit(run_id).alias("scored_run_id"),
        pl.lit(datetime.now(UTC), dtype=tables.TIME).alias("scored_at"),
    )
    beside = Path(f"{part.out}.part")
    scored.write_parquet(beside, compression="lz4")
    beside.replace(part.out)
    return scored.height


def store(run: Run, done: Plan) -> None:
    """Commit the answers of all partitions: to `scores` for ever, and to the state."""
    run.counts["scored"] = done.todo
    run.model_version = done.model.version
    if not done.todo and not done.reused:
        return
    folder = run.staging / "scores"
    parts = ", ".join(quoted(part.out) for part in done.partitions)
    new_scores = f"SELECT product_id, seq, feature_hash, {_ANSWER} FROM scored"
    with engine(run) as connection:
        if parts:
            connection.execute(f"CREATE VIEW scored AS SELECT * FROM read_parquet([{parts}])")
            run.append("scores", copied(run, connection, new_scores))
        else:
            connection.execute("CREATE VIEW scored AS SELECT * FROM state WHERE false")
        connection.execute(
            f"CREATE VIEW reused AS SELECT * FROM read_parquet({quoted(str(folder / 'reused.parquet'))})"
        )
        run.overwrite("state", copied(run, connection, statement("scored_state")))


def _refuse_unstored_fields(run: Run, spec: CatalogSpec) -> None:
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
    _refuse_unstored_fields(run, spec)
    if not run.files("products"):
        return tables.empty("state")
    chosen = ", ".join(f"products.{column(field.name)}" for field in spec.fields)
    with engine(run) as connection:
        return connection.execute(statement("training_rows").replace("/*fields*/", chosen)).pl()


def current_rows(run: Run, spec: CatalogSpec, most: int, seed: int) -> pl.DataFrame:
    """A seeded sample of scored current products that the model has not learnt from, for drift reports."""
    _refuse_unstored_fields(run, spec)
    chosen = ", ".join(f"products.{column(field.name)}" for field in spec.fields)
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE most = {most}")
        connection.execute(f"SET VARIABLE seed = {seed}")
        connection.execute(f"SET VARIABLE holdout_below = {holdout_bound(spec.holdout.share)}")
        return connection.execute(statement("current_rows").replace("/*fields*/", chosen)).pl()
