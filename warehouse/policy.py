"""The policy: from which confidence on a prediction is accepted unseen. Views and the API decide when they are read."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from catalogs.spec import CatalogSpec
from warehouse import tables
from warehouse.home import Home
from warehouse.recorded import recorded
from warehouse.runs import Run


def set_policy(run: Run, spec: CatalogSpec, version: str, thresholds: pl.DataFrame) -> None:
    """Make `thresholds` the policy of a model: label, threshold, support, precision, coverage, reason."""
    others = run.read("policy").filter(pl.col("model_version") != version)
    rows = thresholds.with_columns(
        pl.lit(version).alias("model_version"),
        pl.lit(spec.accept.precision_target).alias("precision_target"),
        pl.lit(spec.accept.review_all).alias("review_all"),
        pl.lit(datetime.now(UTC), dtype=tables.TIME).alias("set_at"),
        pl.lit(run.run_id).alias("run_id"),
    )
    own = tables.conform(rows, "policy").select(list(tables.COLUMNS["policy"]))
    run.overwrite("policy", pl.concat([others, own]))


def published_policy(home: Home, catalog: str) -> pl.DataFrame:
    """The policy that the last recorded run left."""
    return tables.read(home.table(catalog, "policy"), "policy", recorded(home, catalog).get("policy"))


def decide(answers: pl.DataFrame, policy: pl.DataFrame, version: str) -> pl.Series:
    """`accepted` or `review` for each answer (label, confidence): the same rule as the SQL view `predictions`."""
    own = policy.filter(pl.col("model_version") == version).select("label", "threshold", "review_all")
    accepted = (pl.col("confidence") >= pl.col("threshold")) & ~pl.col("review_all")
    return (
        answers.select("label", "confidence")
        .join(own, on="label", how="left", maintain_order="left")
        .select(pl.when(accepted).then(pl.lit("accepted")).otherwise(pl.lit("review")).alias("decision"))
        .to_series()
    )
