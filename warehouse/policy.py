"""The policy: from which confidence on a prediction is accepted unseen. Views and the API decide when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from catalogs.policies import AcceptSpec
from catalogs.product import join_path
from warehouse import columns, tables
from warehouse.home import Home
from warehouse.recorded import recorded
from warehouse.registry import champion
from warehouse.runs import Run

ASKED = ("label", "label_path", "confidence", "confidence_path")
"""What of an answer decides on what is shown."""

SHOWN: dict[str, Any] = {
    "label": pl.String,
    "label_path": columns.PATH,
    "confidence": pl.Float64,
    "predicted_path": columns.PATH,
    "depth": pl.Int64,
    "decision": pl.String,
}
"""What people see of an answer."""


def set_policy(run: Run, accept: AcceptSpec, version: str, thresholds: pl.DataFrame) -> None:
    """Make `thresholds` the policy of a model: label, threshold, support and so on."""
    others = run.read("policy").filter(pl.col("model_version") != version)
    rows = thresholds.with_columns(
        pl.lit(version).alias("model_version"),
        pl.lit(accept.precision_target).alias("precision_target"),
        pl.lit(accept.review_all).alias("review_all"),
        pl.lit(datetime.now(UTC), dtype=columns.TIME).alias("set_at"),
        pl.lit(run.run_id).alias("run_id"),
    )
    own = tables.conform(rows, "policy").select(list(columns.COLUMNS["policy"]))
    run.overwrite("policy", pl.concat([others, own]))


def switch(run: Run, version: str, *, review_all: bool) -> None:
    """Send everything of a model to review, or back to what its thresholds say."""
    now = datetime.now(UTC)
    changed = pl.col("model_version") == version
    rows = run.read("policy").with_columns(
        pl.when(changed).then(review_all).otherwise("review_all").alias("review_all"),
        pl.when(changed).then(pl.lit(now, dtype=columns.TIME)).otherwise("set_at").alias("set_at"),
        pl.when(changed).then(pl.lit(run.run_id)).otherwise("run_id").alias("run_id"),
    )
    run.overwrite("policy", rows)


def reviewing_all(run: Run) -> bool:
    """Whether everything that the champion says goes to review."""
    model = champion(run)
    own = run.read("policy").filter(pl.col("model_version") == ("" if model is None else model.version))
    return bool(own["review_all"].any())


def published_policy(home: Home, catalog: str) -> pl.DataFrame:
    """The policy that the last recorded run left; its reasons say when everything goes to review, as in the view."""
    rows = tables.read(home.table(catalog, "policy"), "policy", recorded(home, catalog).get("policy"))
    whatever = pl.concat_str(
        pl.lit("everything goes to review"), "reason", separator="; by threshold: ", ignore_nulls=True
    )
    return rows.with_columns(pl.when("review_all").then(whatever).otherwise("reason").alias("reason"))


def accepted_depth(confidence_path: Sequence[float], thresholds: Sequence[float | None]) -> int:
    """How many levels of a label path are accepted: down to the deepest whose threshold holds, 0 for none.

    The same rule as `warehouse/sql/accepted_depth.sql`.

    Args:
        confidence_path: confidence at each level.
        thresholds: from which confidence on each level is accepted; null: never.
    """
    for level in range(min(len(confidence_path), len(thresholds)), 0, -1):
        least = thresholds[level - 1]
        if least is not None and confidence_path[level - 1] >= least:
            return level
    return 0


def thresholds_of(policy: pl.DataFrame, version: str) -> dict[str, list[float | None]]:
    """For each label of a model from which confidence on each of its levels is accepted; empty where all go to review.

    What is in force is decided here alone: `decide` and the API look labels up in this.
    """
    own = policy.filter((pl.col("model_version") == version) & ~pl.col("review_all"))
    limits = own.select("label", pl.coalesce("path_thresholds", pl.concat_list("threshold")).alias("limits"))
    return dict(limits.iter_rows())


def decide(answers: pl.DataFrame, policy: pl.DataFrame, version: str) -> pl.DataFrame:
    """What is shown of each answer (label, label_path, confidence, confidence_path), as in the view `predictions`.

    Returns:
        `SHOWN`: label, label_path and confidence down to the accepted depth, or of the whole path where none is
        accepted; predicted_path, the whole path; depth; decision.
    """
    limits = thresholds_of(policy, version)
    asked = {name: answers[name].to_list() for name in ("label", "confidence_path")}
    depths = [accepted_depth(path, limits.get(label, ())) for label, path in zip(*asked.values(), strict=True)]
    depth = pl.Series("depth", depths, dtype=pl.Int64)
    if not ((depth > 0) & (depth < answers["label_path"].list.len())).any():
        # Accepted whole or not at all, as plain labels are: nothing of the answers changes.
        decision = pl.when(pl.col("depth") > 0).then(pl.lit("accepted")).otherwise(pl.lit("review"))
        decided = answers.with_columns(pl.col("label_path").alias("predicted_path"), depth)
        return decided.with_columns(decision.alias("decision")).select(list(SHOWN))
    rows = zip(*(answers[name].to_list() for name in ASKED), strict=True)
    decided_rows = [shown(label, path, own, levels, limits.get(label, ())) for label, path, own, levels in rows]
    # By columns: of rows, Polars takes a third longer to make a frame.
    return pl.DataFrame(dict(zip(SHOWN, zip(*decided_rows, strict=True), strict=True)), schema=SHOWN)


def shown(
    label: str,
    path: list[str],
    confidence: float,
    confidence_path: Sequence[float],
    thresholds: Sequence[float | None],
) -> tuple[str, list[str], float, list[str], int, str]:
    """One answer as `decide` shows it."""
    depth = accepted_depth(confidence_path, thresholds)
    if 0 < depth < len(path):
        return join_path(path[:depth]) or "", path[:depth], confidence_path[depth - 1], path, depth, "accepted"
    return label, path, confidence, path, depth, "accepted" if depth else "review"
