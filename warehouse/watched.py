"""What monitoring looks at: samples of the catalogue and of its arrivals, labels that came in, and rows refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from catalogs.spec import CatalogSpec
from classifier.artifact import manifest
from classifier.holdout import holdout_bound
from classifier.recipes import Recipe
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


def current_rows(run: Run, spec: CatalogSpec, most: int, seed: int, model: ModelRecord | None = None) -> pl.DataFrame:
    """A seeded sample of current products that no model of the catalogue has learnt from.

    Args:
        run: whose tables are read.
        spec: the catalogue.
        most: rows at most.
        seed: of the sample.
        model: whose answers are wanted; without one there are none.
    """
    with _ready(run, spec, model) as connection:
        connection.execute(f"SET VARIABLE most = {most}")
        connection.execute(f"SET VARIABLE seed = {seed}")
        return connection.execute(_filled("current_rows", spec)).pl()


def arrivals(run: Run, spec: CatalogSpec, model: ModelRecord, most: int, seed: int) -> Arrivals:
    """What came in since arrivals were last judged, and what came before; at most `most` rows of each.

    At the first look, what the newest run stored came in. Scoring again brings nothing in. A look at too few products
    for a verdict does not count: they are looked at again, with what comes next. Where too few came before, they are
    what the next are compared with.
    """
    since = _last_look(run, spec)
    with _ready(run, spec, model) as connection:
        # The newest run's rows have one time each batch: the first of them ends what came before.
        start = since or one(
            connection,
            "SELECT min(stored_at) - INTERVAL 1 MICROSECOND FROM products "
            "WHERE run_id = (SELECT arg_max(run_id, stored_at) FROM products)",
        )
        connection.execute(f"SET VARIABLE since = {_time(start or _BEGINNING)}")
        connection.execute(f"SET VARIABLE most = {most}")
        connection.execute(f"SET VARIABLE seed = {seed}")
        rows = connection.execute(_filled("arrivals", spec)).pl()
    now = pl.col("current")
    return Arrivals(since, rows.filter(~now).drop("current"), rows.filter(now).drop("current"))


def _last_look(run: Run, spec: CatalogSpec) -> datetime | None:
    """When arrivals were last judged, or too few had come before them."""
    looks = run.read("drift").filter(pl.col("comparison") == "arrivals", pl.col("metric") != "rejected_share")
    ended = looks.group_by("run_id").agg(
        pl.col("measured_at").max(), judged=pl.col("drifted").count() > 0, before=pl.col("n_reference").max()
    )
    last = ended.filter(pl.col("judged") | (pl.col("before") < spec.drift.min_rows))["measured_at"].max()
    return last if isinstance(last, datetime) else None


def labelled_accuracy(run: Run, spec: CatalogSpec, model: ModelRecord) -> LabelledAccuracy:
    """Over all current products with a label from the source or a person that `model` did not learn."""
    with _ready(run, spec, model) as connection:
        rows, right, expected = connection.execute(_filled("labelled_accuracy", spec)).fetchall()[0]
    return LabelledAccuracy(rows, right, expected)


def new_labels(run: Run, spec: CatalogSpec, since: datetime) -> int:
    """Labelled products that a training would learn from and that one at `since` could not."""
    with _ready(run, spec, None) as connection:
        connection.execute(f"SET VARIABLE since = {_time(since)}")
        return int(one(connection, statement("new_labels")))


def rejected(run: Run, since: datetime | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows that runs read and how many of them they rejected: of runs up to `since`, and of those after it.

    The run under way counts too. Without `since`, the last run that read anything came after.
    """
    # A nightly run is recorded twice: when its predictions can be seen, and at its end.
    every = recorded_runs(run.home, run.catalog).unique("run_id", keep="last", maintain_order=True)
    past = every.filter(pl.col("run_id") != run.run_id, pl.col("read") > 0)
    known = past.select("run_id", "started_at", "read", "rejected").sort("started_at")
    if run.counts.get("read"):
        own = (run.run_id, run.started_at, run.counts["read"], run.counts.get("rejected", 0))
        known = known.vstack(pl.DataFrame([own], schema=known.schema, orient="row"))
    after = pl.int_range(pl.len()) == pl.len() - 1 if since is None else pl.col("started_at") > since
    sides = known.filter(~after), known.filter(after)
    before, now = ((int(side["read"].sum()), int(side["rejected"].sum())) for side in sides)
    return before, now


# What a model trained at that time cannot have learnt from.
_UNSEEN = """(
    ('0x' || left(state.text_hash, 8))::BIGINT < getvariable('holdout_below')
    OR coalesce(first_labelled.since > getvariable('trained_at'), true)
)"""
# People are asked about doubtful products. Where the source had a label too, their word is the better one; where it had
# none, a share of right answers among these would say nothing of the catalogue.
_KNOWN = "CASE WHEN state.known_path IS NOT NULL THEN coalesce(said.label_path, state.known_path) END"


@contextmanager
def _ready(run: Run, spec: CatalogSpec, model: ModelRecord | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows what `model` has not learnt, and the newest label that a person gave each product."""
    refuse_unstored_fields(run, spec)
    with engine(run) as connection:
        trained = _BEGINNING if model is None else trained_at(run, model.version)
        connection.execute(f"SET VARIABLE holdout_below = {holdout_bound(_held_out(spec, model))}")
        connection.execute(f"SET VARIABLE trained_at = {_time(trained)}")
        connection.execute(f"SET VARIABLE model_digest = {quoted('' if model is None else model.digest)}")
        connection.execute(
            "CREATE VIEW newest_labels AS SELECT product_id, label_path, labelled_at FROM labels "
            "QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY labelled_at DESC) = 1"
        )
        connection.execute(f"CREATE VIEW first_labelled AS {statement('first_labelled')}")
        yield connection


def _held_out(spec: CatalogSpec, model: ModelRecord | None) -> float:
    """The share of texts that neither the catalogue nor the model has trained on; a prototype trains on all."""
    if model is None:
        return spec.holdout.share
    about = manifest(model.folder)
    if Recipe.model_validate(about["recipe"]).is_prototype:
        return 0.0
    return min(spec.holdout.share, float(about["catalog"]["holdout"]["share"]))


def _filled(name: str, spec: CatalogSpec) -> str:
    chosen = ", ".join(f"products.{column(field.name)}" for field in spec.fields)
    return statement(name).replace("/*fields*/", chosen).replace("/*unseen*/", _UNSEEN).replace("/*known*/", _KNOWN)


def _time(moment: datetime) -> str:
    return f"TIMESTAMPTZ {quoted(moment.isoformat())}"
