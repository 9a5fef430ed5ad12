"""What monitoring looks at: samples of the catalogue and of its arrivals, labels that came in, and rows refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from catalogs.spec import CatalogSpec
from classifier.holdout import holdout_bound
from warehouse.engine import engine, one
from warehouse.recorded import recorded_runs
from warehouse.registry import ModelRecord, trained_at
from warehouse.runs import Run
from warehouse.scoring import refuse_unstored_fields
from warehouse.statements import column, quoted, statement

if TYPE_CHECKING:
    import duckdb

__all__ = ["Arrivals", "LabelledAccuracy", "arrivals", "current_rows", "labelled_accuracy", "new_labels", "rejected"]

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Arrivals:
    """Products that came in since the last look, and those before them.

    Attributes:
        since: the last look; None at the first.
        before: what came before, newest first up to a number of rows.
        now: what came since.
    """

    since: datetime | None
    before: pl.DataFrame
    now: pl.DataFrame


@dataclass(frozen=True)
class LabelledAccuracy:
    """How often the champion was right where the right label is known, and it had not learnt it.

    Attributes:
        rows: products with such a label.
        right: of them, answered right.
        expected: share that its confidences say are right; None without rows.
    """

    rows: int
    right: int
    expected: float | None


def current_rows(run: Run, spec: CatalogSpec, most: int, seed: int, *, scored: bool = True) -> pl.DataFrame:
    """A seeded sample of current products that no model of the catalogue has learnt from.

    Args:
        run: whose tables are read.
        spec: the catalogue.
        most: rows at most.
        seed: of the sample.
        scored: only products that have an answer.
    """
    with _ready(run, spec) as connection:
        connection.execute(f"SET VARIABLE most = {most}")
        connection.execute(f"SET VARIABLE seed = {seed}")
        connection.execute(f"SET VARIABLE scored = {scored}")
        return connection.execute(_with_fields("current_rows", spec)).pl()


def arrivals(run: Run, spec: CatalogSpec, model: ModelRecord, most: int, seed: int) -> Arrivals:
    """What came in since arrivals were last looked at, and what came before; at most `most` rows of each.

    At the first look, what the newest run stored came in. Scoring again brings nothing in.
    """
    looks = run.read("drift").filter(pl.col("comparison") == "arrivals")["measured_at"]
    last = looks.max()
    since = last if isinstance(last, datetime) else None
    with _ready(run, spec) as connection:
        # The newest run's rows have one time each batch: the first of them ends what came before.
        start = since or one(
            connection,
            "SELECT min(stored_at) - INTERVAL 1 MICROSECOND FROM products "
            "WHERE run_id = (SELECT arg_max(run_id, stored_at) FROM products)",
        )
        connection.execute(f"SET VARIABLE since = {_time(start or _BEGINNING)}")
        connection.execute(f"SET VARIABLE trained_at = {_time(trained_at(run, model.version))}")
        connection.execute(f"SET VARIABLE model_digest = {quoted(model.digest)}")
        connection.execute(f"SET VARIABLE most = {most}")
        connection.execute(f"SET VARIABLE seed = {seed}")
        rows = connection.execute(_with_fields("arrivals", spec)).pl()
    now = pl.col("current")
    return Arrivals(since, rows.filter(~now).drop("current"), rows.filter(now).drop("current"))


def labelled_accuracy(run: Run, spec: CatalogSpec, model: ModelRecord) -> LabelledAccuracy:
    """Over all current products with a label from the source or a person that `model` did not learn."""
    with _ready(run, spec) as connection:
        connection.execute(f"SET VARIABLE trained_at = {_time(trained_at(run, model.version))}")
        connection.execute(f"SET VARIABLE model_digest = {quoted(model.digest)}")
        rows, right, expected = connection.execute(statement("labelled_accuracy")).fetchall()[0]
    return LabelledAccuracy(rows, right, expected)


def new_labels(run: Run, spec: CatalogSpec, since: datetime) -> int:
    """Labelled products that a training would learn from and that one at `since` could not."""
    with _ready(run, spec) as connection:
        connection.execute(f"SET VARIABLE since = {_time(since)}")
        return int(one(connection, statement("new_labels")))


def rejected(run: Run, since: datetime | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows that runs read and how many of them they rejected: of runs up to `since`, and of those after it.

    The run under way counts too. Without `since`, the last run that read anything came after.
    """
    past = recorded_runs(run.home, run.catalog).filter(pl.col("run_id") != run.run_id, pl.col("read") > 0)
    known = past.select("run_id", "started_at", "read", "rejected").sort("started_at")
    if run.counts.get("read"):
        own = (run.run_id, run.started_at, run.counts["read"], run.counts.get("rejected", 0))
        known = known.vstack(pl.DataFrame([own], schema=known.schema, orient="row"))
    after = pl.int_range(pl.len()) == pl.len() - 1 if since is None else pl.col("started_at") > since
    sides = known.filter(~after), known.filter(after)
    before, now = ((int(side["read"].sum()), int(side["rejected"].sum())) for side in sides)
    return before, now


@contextmanager
def _ready(run: Run, spec: CatalogSpec) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows the catalogue's hold-out, and the newest label that a person gave each product."""
    refuse_unstored_fields(run, spec)
    with engine(run) as connection:
        connection.execute(f"SET VARIABLE holdout_below = {holdout_bound(spec.holdout.share)}")
        connection.execute(
            "CREATE VIEW newest_labels AS SELECT product_id, label_path, labelled_at FROM labels "
            "QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY labelled_at DESC) = 1"
        )
        yield connection


def _with_fields(name: str, spec: CatalogSpec) -> str:
    chosen = ", ".join(f"products.{column(field.name)}" for field in spec.fields)
    return statement(name).replace("/*fields*/", chosen)


def _time(moment: datetime) -> str:
    return f"TIMESTAMPTZ {quoted(moment.isoformat())}"
