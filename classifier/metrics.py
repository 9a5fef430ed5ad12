"""How good predictions are: accuracy, precision, recall and F1, for plain labels and for each level of a path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import polars as pl

from catalogs.product import join_paths

__all__ = ["Metrics", "confusions", "evaluate", "pairs_at"]

Metrics: TypeAlias = dict[str, Any]


def evaluate(truth: pl.Series, predicted: pl.Series, levels: Sequence[str]) -> Metrics:
    """Compare predicted label paths with the right ones.

    Args:
        truth: right path of each row (List(String)); rows without one are passed over.
        predicted: predicted path of each row; null where there is none, which counts as wrong.
        levels: names of the label's levels.

    Returns:
        rows, accuracy, macro_f1, weighted_f1, labels (label → precision, recall, f1, support), all of the full path;
        with several levels also levels (name → the same of the paths down to that level, over the rows whose path
        reaches it; a predicted path that stops earlier is wrong there) and hierarchical (precision, recall and f1 over
        all nodes of all paths: what two paths share counts; Kiritchenko, Matwin and Famili, 2005).
        Macro F1 is the plain mean over every label that is right or predicted somewhere, as in scikit-learn.
    """
    table = _table(truth, predicted)
    metrics = _compare(table.select(join_paths("truth"), join_paths("predicted")))
    if len(levels) > 1:
        metrics["levels"] = {level: _compare(pairs_at(table, depth)) for depth, level in enumerate(levels)}
        metrics["hierarchical"] = _hierarchical(table, len(levels))
    return metrics


def confusions(
    truth: pl.Series, predicted: pl.Series, examples: pl.Series, most: int = 20, most_examples: int = 3
) -> list[dict[str, Any]]:
    """The most frequent mistakes.

    Args:
        truth: right path of each row; rows without one are passed over.
        predicted: predicted path of each row.
        examples: something that shows the row to people, its title.
        most: how many pairs of labels.
        most_examples: how many examples of each.

    Returns:
        true, predicted, count, share (of all rows of the true label), examples; most frequent first.
    """
    table = pl.DataFrame({"truth": truth, "predicted": predicted, "example": examples}).drop_nulls("truth")
    table = table.with_columns(join_paths("truth"), join_paths("predicted"))
    support = table.group_by("truth").agg(pl.len().alias("support"))
    wrong = (
        table.filter(~pl.col("truth").eq_missing(pl.col("predicted")))
        .group_by("truth", "predicted", maintain_order=True)
        .agg(pl.len().alias("count"), pl.col("example").drop_nulls().unique(maintain_order=True).head(most_examples))
        .join(support, on="truth")
        .sort(["count", "truth", "predicted"], descending=[True, False, False])
        .head(most)
    )
    return [
        {
            "true": row["truth"],
            "predicted": row["predicted"],
            "count": row["count"],
            "share": row["count"] / row["support"],
            "examples": row["example"],
        }
        for row in wrong.iter_rows(named=True)
    ]


def pairs_at(table: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Paths down to a level (0 is the first) as text: two nodes of one name under different parents are two labels.

    Args:
        table: columns of label paths, `truth` among them; rows whose right path does not reach the level are left out.
        depth: the level.

    Returns:
        The same columns as text; a predicted path that does not reach the level is null.
    """
    reached = [
        pl.when(pl.col(name).list.len() > depth).then(join_paths(pl.col(name).list.head(depth + 1))).alias(name)
        for name in table.columns
    ]
    return table.select(reached).drop_nulls("truth")


def _table(truth: pl.Series, predicted: pl.Series) -> pl.DataFrame:
    return pl.DataFrame({"truth": truth, "predicted": predicted}).drop_nulls("truth")


def _hierarchical(table: pl.DataFrame, depth: int) -> dict[str, float]:
    shared = [pl.col("truth").list.head(level) == pl.col("predicted").list.head(level) for level in range(1, depth + 1)]
    # Beyond the end of both paths their heads are the same once more: what is shared ends with the shorter one.
    shorter = pl.min_horizontal(pl.col("truth", "predicted").list.len())
    counts = table.select(
        shared=pl.min_horizontal(pl.sum_horizontal(shared), shorter).sum(),
        given=pl.col("predicted").list.len().sum(),
        known=pl.col("truth").list.len().sum(),
    ).row(0, named=True)
    precision, recall = (counts["shared"] / counts[whole] if counts[whole] else 0.0 for whole in ("given", "known"))
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _compare(pairs: pl.DataFrame) -> Metrics:
    """Metrics of two String columns, truth (no nulls) and predicted."""
    rows = pairs.height
    right = pairs.filter(pl.col("truth") == pl.col("predicted"))
    counted = [
        frame.group_by(pl.col(column).alias("label")).agg(pl.len().alias(name))
        for frame, column, name in (
            (pairs, "truth", "support"),
            (pairs.drop_nulls("predicted"), "predicted", "given"),
            (right, "truth", "right"),
        )
    ]
    table = counted[0].join(counted[1], on="label", how="full", coalesce=True).join(counted[2], on="label", how="left")
    table = table.with_columns(pl.col("support", "given", "right").fill_null(0)).sort("label")
    table = table.with_columns(
        _ratio(pl.col("right"), pl.col("given")).alias("precision"),
        _ratio(pl.col("right"), pl.col("support")).alias("recall"),
        _ratio(2 * pl.col("right"), pl.col("given") + pl.col("support")).alias("f1"),
    )
    columns = ("precision", "recall", "f1", "support")
    return {
        "rows": rows,
        "accuracy": right.height / rows if rows else 0.0,
        "macro_f1": table["f1"].mean() if rows else 0.0,
        "weighted_f1": (table["f1"] * table["support"]).sum() / rows if rows else 0.0,
        "labels": {row["label"]: {key: row[key] for key in columns} for row in table.iter_rows(named=True)},
    }


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole).otherwise(0.0)
