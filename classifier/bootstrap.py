"""How far metrics may be off by the luck of the hold-out: intervals of accuracy, of F1, and of differences of them.

Accuracy is a share of rows, and has the interval of every share (Wilson's): a resample of rows without an error has
none either, and would call the accuracy certain. The others are bootstrapped.

Rows are resampled with replacement. Metrics depend only on how many rows each pair of right and predicted label has, so
it is those counts that are drawn (a multinomial draw): the same as drawing rows, at the cost of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from catalogs.product import join_paths
from classifier.metrics import pairs_at

__all__ = ["METRICS", "RESAMPLES", "Interval", "differences", "intervals", "wilson"]

Interval: TypeAlias = tuple[float, float]
Draws: TypeAlias = NDArray[np.float64]

METRICS = ("accuracy", "macro_f1", "weighted_f1")
RESAMPLES = 1_000
"""Resamples of an interval: its ends then move by about a twentieth of its length from seed to seed."""

_PERCENTILES = (2.5, 97.5)
# Counts drawn at once: resamples × pairs of labels, about 16 MB.
_DRAWN_AT_ONCE = 2_000_000
_Z = 1.959964


@dataclass(frozen=True)
class _Cells:
    """Rows counted by their right label and what was predicted.

    Attributes:
        rows: of each cell.
        truth: its right label.
        given: for each model its predicted label, -1 for none.
        labels: number of labels.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    given: list[NDArray[np.int64]]
    labels: int

    def drawn(self, seed: int) -> Iterator[NDArray[np.int64]]:
        """Counts of each resample, some resamples at a time."""
        rng = np.random.default_rng(seed)
        total, at_once = self.rows.sum(), max(1, _DRAWN_AT_ONCE // len(self.rows))
        parts = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
        return (rng.multinomial(total, self.rows / total, size=part) for part in parts)

    def metrics(self, counts: NDArray[np.int64], model: int = 0) -> Draws:
        """`METRICS` of a model in each resample (resamples × 3), as `classifier.metrics.evaluate` counts them."""
        given = self.given[model]
        support = _summed(counts, self.truth, self.labels)
        predicted = _summed(counts, given, self.labels)
        right = _summed(counts, np.where(given == self.truth, given, -1), self.labels)
        either = support + predicted
        f1 = np.divide(2.0 * right, either, out=np.zeros_like(either), where=either > 0)
        rows = counts.sum(axis=1)
        macro = f1.sum(axis=1) / (either > 0).sum(axis=1)
        return np.column_stack([right.sum(axis=1) / rows, macro, (f1 * support).sum(axis=1) / rows])


def intervals(truth: pl.Series, predicted: pl.Series, levels: Sequence[str], seed: int) -> dict[str, Any]:
    """95 % intervals of what `metrics.evaluate` gives for the same rows: Wilson's of accuracy, else percentiles.

    Args:
        truth: right path of each row; rows without one are passed over.
        predicted: predicted path; null where there is none.
        levels: names of the label's levels.
        seed: of the resamples.

    Returns:
        metric → (low, high); with several levels also levels (name → the same) and hierarchical (precision, recall,
        f1); nothing without rows.
    """
    table = pl.DataFrame({"truth": truth, "predicted": predicted}).drop_nulls("truth")
    found = _of_one_level(table.select(join_paths("truth"), join_paths("predicted")), seed)
    if len(levels) > 1 and found:
        found["levels"] = {}
        for depth, level in enumerate(levels):
            found["levels"][level] = _of_one_level(pairs_at(table, depth), seed)
        found["hierarchical"] = _hierarchical(table, seed)
    return found


def differences(truth: pl.Series, one: pl.Series, other: pl.Series, seed: int) -> dict[str, dict[str, Any]]:
    """What `one` has over `other` on the same rows: metric → difference and its interval, by a paired bootstrap.

    Args:
        truth: right path of each row; rows without one are passed over.
        one: predicted path of the one model.
        other: predicted path of the other.
        seed: of the resamples.
    """
    table = pl.DataFrame({"truth": truth, "one": one, "other": other}).drop_nulls("truth")
    cells = _cells(table.select(join_paths("truth"), join_paths("one"), join_paths("other")))
    if cells is None:
        return {}
    whole = cells.rows[None, :]
    found = (cells.metrics(whole) - cells.metrics(whole, 1))[0]
    drawn = np.concatenate([cells.metrics(counts) - cells.metrics(counts, 1) for counts in cells.drawn(seed)])
    ends = _ends(drawn)
    return {name: {"difference": float(found[i]), "interval": ends[i]} for i, name in enumerate(METRICS)}


def wilson(share: float | None, rows: int, z: float = _Z) -> Interval | None:
    """The interval of a share counted on so many rows (Wilson 1927: right near 0 and 1 too), None without rows.

    Args:
        share: 0 to 1.
        rows: that it was counted on.
        z: standard errors to either side; 95 % when not given.
    """
    if share is None or rows < 1:
        return None
    spread = z**2 / rows
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    # At the ends the formula gives 0 and 1 but for rounding.
    return 0.0 if share <= 0 else float(centre - half), 1.0 if share >= 1 else float(centre + half)


def _of_one_level(pairs: pl.DataFrame, seed: int) -> dict[str, Any]:
    cells = _cells(pairs)
    if cells is None:
        return {}
    ends = _ends(np.concatenate([cells.metrics(counts) for counts in cells.drawn(seed)]))
    accuracy = wilson(float(cells.metrics(cells.rows[None, :])[0, 0]), int(cells.rows.sum()))
    return dict(zip(METRICS, ends, strict=True)) | {"accuracy": accuracy}


def _cells(table: pl.DataFrame) -> _Cells | None:
    """Count rows; the first column is the truth, the others are predictions."""
    if table.is_empty():
        return None
    counted = table.group_by(pl.all()).agg(pl.len().alias("#rows")).sort(table.columns)
    names = pl.concat([table[name].unique() for name in table.columns], rechunk=True).drop_nulls().unique().sort()
    code = {name: number for number, name in enumerate(names)}
    truth, *given = (
        np.array([-1 if name is None else code[name] for name in counted[column]], dtype=np.int64)
        for column in table.columns
    )
    return _Cells(counted["#rows"].cast(pl.Int64).to_numpy(), truth, given, len(code))


def _hierarchical(table: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """Intervals of precision, recall and F1 over the nodes of all paths."""
    depth = pl.max_horizontal(pl.col("truth", "predicted").list.len()).max()
    deepest = int(table.select(depth.fill_null(0)).item())
    heads = [
        pl.col("truth").list.head(level) == pl.col("predicted").list.head(level) for level in range(1, deepest + 1)
    ]
    shorter = pl.min_horizontal(pl.col("truth", "predicted").list.len())
    nodes = table.select(
        shared=pl.min_horizontal(pl.sum_horizontal(heads), shorter).fill_null(0),
        given=pl.col("predicted").list.len().fill_null(0),
        known=pl.col("truth").list.len(),
    )
    counted = nodes.group_by(pl.all()).agg(pl.len().alias("#rows")).sort(nodes.columns)
    rows = counted["#rows"].cast(pl.Int64).to_numpy()
    counts = np.random.default_rng(seed).multinomial(rows.sum(), rows / rows.sum(), size=RESAMPLES)
    shared, given, known = (counts @ counted[name].to_numpy().astype(np.float64) for name in nodes.columns)
    drawn = np.column_stack(
        [
            np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
            for part, whole in ((shared, given), (shared, known), (2 * shared, given + known))
        ]
    )
    return dict(zip(("precision", "recall", "f1"), _ends(drawn), strict=True))


def _summed(counts: NDArray[np.int64], labels: NDArray[np.int64], width: int) -> Draws:
    """Counts (resamples × cells) added up by label (resamples × labels); cells of label -1 do not count."""
    cells = np.flatnonzero(labels >= 0)
    ones = np.ones(len(cells))
    sums = sp.csr_matrix((ones, (labels[cells], cells)), shape=(width, counts.shape[1])) @ counts.T.astype(np.float64)
    return np.asarray(sums).T


def _ends(drawn: Draws) -> list[Interval]:
    low, high = np.percentile(drawn, _PERCENTILES, axis=0)
    return [(float(one), float(other)) for one, other in zip(low, high, strict=True)]
