"""From which confidence on a label may be used unseen: the lowest at which its precision is proven, or never.

Of label paths every node has a threshold, down to which level a path may be used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from catalogs.product import join_path
from classifier.tree import Tree

__all__ = ["fit_thresholds", "lower_bound", "proof", "reached", "rows_needed", "thresholds_of_tree"]

# Coverages that are tried for a label, of all of its predictions. Few: the more thresholds are tried on the same rows,
# the luckier the best of them is. With twenty, accepted rows missed the target in 7 of 100 resamplings of elo7's
# products, with these in 4 (`scripts/bench calibration` repeats it).
_COVERAGES = np.array([1.0, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15, 0.07])

SCHEMA = {
    "label": pl.String,
    "level": pl.Int64,
    "threshold": pl.Float64,
    "support": pl.Int64,
    "precision": pl.Float64,
    "coverage": pl.Float64,
    "reason": pl.String,
}
_OWN_SCHEMA = {name: dtype for name, dtype in SCHEMA.items() if name != "level"}


@dataclass(frozen=True)
class _Point:
    threshold: float
    rows: float
    right: float


def rows_needed(precision_target: float, confidence_level: float) -> int:
    """Rows without a single error that prove a precision: .98 at 95 % needs 149, .90 needs 29."""
    return math.ceil(math.log(1.0 - confidence_level) / math.log(precision_target))


def lower_bound(right: float, rows: float, confidence_level: float) -> float:
    """Clopper and Pearson's one-sided lower bound of a share (Biometrika 26, 1934): exact, never too high."""
    from scipy.stats import beta  # here: the API predicts without it, and starts a second sooner

    return 0.0 if right <= 0 else float(beta.ppf(1.0 - confidence_level, right, max(rows - right, 0.0) + 1))


def reached(thresholds: pl.DataFrame) -> str:
    """How many labels have a threshold, in words: "2 of 9 labels"; of label paths the nodes, level by level.

    Args:
        thresholds: level and threshold (null: never accepted).
    """
    levels = [own for _, own in thresholds.sort("level").group_by("level", maintain_order=True)]
    counts = [f"{own['threshold'].count():,} of {own.height:,}" for own in levels]
    if len(levels) < 2:
        return f"{counts[0] if counts else '0 of 0'} labels"
    return ", ".join(f"{count} nodes of level {level}" for level, count in enumerate(counts, 1))


def proof(text_hash: pl.Series) -> NDArray[np.float64]:
    """How much each row proves of a precision: all copies of a text together as much as one.

    Copies are right together or wrong together: counted apart, ten of a text would be ten proofs.
    """
    return 1.0 / text_hash.to_frame("text").select(pl.len().over("text")).to_series().to_numpy()


def fit_thresholds(
    labels: list[str],
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    precision_target: float,
    confidence_level: float,
    weight: NDArray[np.float64] | None = None,
) -> pl.DataFrame:
    """One row a label: its threshold, and what is known of it.

    Args:
        labels: names of the labels.
        predicted: index of the predicted label of each out-of-fold row.
        confidence: its calibrated confidence.
        right: whether it was right.
        precision_target: share of accepted rows that must be right.
        confidence_level: how sure to be of that.
        weight: how much each row proves (`proof`); None: all the same.

    Returns:
        label; threshold (accept at this confidence or above; null: never); support (out-of-fold rows predicted as the
        label, each by its weight); precision and coverage at the threshold (null and 0 where there is none); reason in
        words.
    """
    weight = np.ones(len(predicted)) if weight is None else weight
    order = np.lexsort((-confidence, predicted))
    bounds = np.searchsorted(predicted[order], np.arange(len(labels) + 1))
    rows = []
    for code, label in enumerate(labels):
        own = order[bounds[code] : bounds[code + 1]]
        rows.append(_one(label, confidence[own], right[own], weight[own], precision_target, confidence_level))
    return pl.DataFrame(rows, schema=_OWN_SCHEMA, orient="row")


def thresholds_of_tree(
    tree: Tree,
    predicted: NDArray[np.int64],
    path_confidence: NDArray[np.float64],
    truth: NDArray[np.int64],
    precision_target: float,
    confidence_level: float,
    weight: NDArray[np.float64] | None = None,
) -> pl.DataFrame:
    """One row a node of every level, in the order of the levels: its threshold, and what is known of it.

    What is accepted down to a level is what is not accepted further down, and that is worse than all that reaches the
    level. So the deepest level comes first, and a level above it is proven on the rows that are left.

    Args:
        tree: the labels.
        predicted: index of the predicted label of each out-of-fold row.
        path_confidence: its calibrated confidences (rows × levels).
        truth: index of the right label.
        precision_target: share of accepted rows that must be right down to the level.
        confidence_level: how sure to be of that.
        weight: how much each row proves (`proof`); None: all the same.

    Returns:
        As `fit_thresholds`, with `level` (1 is the first), support and coverage of the rows that are not accepted
        further down; and path_thresholds, those of the node and of every node above it, from the first level on: a null
        where a node is never accepted.
    """
    levels, known = [], dict[str, float | None]()
    left = np.ones(len(predicted), dtype=bool)
    for level, nodes in reversed(list(enumerate(tree.nodes))):
        names = tree.names(level)
        rows = np.flatnonzero(left & (tree.lengths[predicted] > level))
        own, right = nodes[predicted[rows]], nodes[predicted[rows]] == nodes[truth[rows]]
        confidence = path_confidence[rows, level]
        labels = [join_path(name) or "" for name in names]
        own_weight = None if weight is None else weight[rows]
        found = fit_thresholds(labels, own, confidence, right, precision_target, confidence_level, own_weight)
        bars = found["threshold"].fill_null(np.inf).to_numpy()
        left[rows[confidence >= bars[own]]] = False
        # A path that ended above is a node of the level above, and has its row there.
        found = found.with_columns(pl.lit(level + 1, pl.Int64).alias("level"), pl.Series("path", names))
        found = found.filter(pl.col("path").list.len() == level + 1)
        known |= dict(zip(found["label"], found["threshold"], strict=True))
        levels.append(found)
    table = pl.concat(reversed(levels))
    along = [[known[join_path(path[: end + 1]) or ""] for end in range(len(path))] for path in table["path"].to_list()]
    return table.select(list(SCHEMA)).with_columns(pl.Series("path_thresholds", along, dtype=pl.List(pl.Float64)))


def _one(
    label: str,
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    weight: NDArray[np.float64],
    target: float,
    level: float,
) -> tuple[str, float | None, int, float | None, float, str]:
    rows = float(weight.sum())
    support = round(rows)
    if not len(confidence):
        return label, None, 0, None, 0.0, "never predicted out of fold: nothing is known of its precision"
    points = _points(confidence, right, weight)
    # Down from the highest threshold, and no further than the first failure behind a success: a lower one that passes
    # again is more likely luck than precision.
    proven: tuple[_Point, float] | None = None
    for point in reversed(points):
        bound = lower_bound(point.right, point.rows, level)
        if bound >= target:
            proven = point, bound
        elif proven is not None:
            break
    if proven is not None:
        point, bound = proven
        share = point.right / point.rows
        reason = f"precision {share:.3f} on {point.rows:,.0f} rows, at least {bound:.3f} at {level:.0%}"
        return label, point.threshold, support, share, point.rows / rows, reason
    return label, None, support, None, 0.0, _lacking(points, support, target, level)


def _points(confidence: NDArray[np.float64], right: NDArray[np.bool_], weight: NDArray[np.float64]) -> list[_Point]:
    """Thresholds to try, lowest first; rows are sorted by falling confidence, equal ones go together."""
    weight_so_far, right_so_far = np.cumsum(weight), np.cumsum(weight * right)
    points = {}
    for coverage in _COVERAGES:
        # What is added up is a little off: a whole number of rows must not come out as one more.
        at = int(np.searchsorted(weight_so_far, coverage * weight_so_far[-1] * (1 - 1e-9)))
        threshold = confidence[min(at, len(confidence) - 1)]
        rows = int(np.searchsorted(-confidence, -threshold, side="right"))
        points[rows] = _Point(float(threshold), float(weight_so_far[rows - 1]), float(right_so_far[rows - 1]))
    return list(points.values())


def _lacking(points: list[_Point], support: int, target: float, level: float) -> str:
    needed = rows_needed(target, level)
    if support < needed:
        return f"{support:,} rows predicted out of fold; {target:.2f} at {level:.0%} needs {needed:,} without an error"
    best = max(points, key=lambda point: lower_bound(point.right, point.rows, level))
    bound = lower_bound(best.right, best.rows, level)
    return (
        f"at best {best.right:,.0f} of {best.rows:,.0f} rows right (confidence {best.threshold:.3f} or more): "
        f"precision at least {bound:.3f} at {level:.0%}, {target:.2f} is asked"
    )
