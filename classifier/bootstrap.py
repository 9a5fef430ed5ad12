"""How far metrics may be off by the luck of the hold-out: intervals of accuracy, of F1, and of differences of them.

Accuracy is a share of rows, and has the interval of every share (Wilson's): a resample of rows without an error has
none either, and would call the accuracy certain. The others are bootstrapped.

Rows are resampled with replacement. Metrics depend only on how many rows each pair of right and predicted label has, so
it is those counts that are drawn (a multinomial draw): the same as drawing rows, at the cost of the pairs. Rows that
belong together, as copies of a text do, are drawn together: they share their luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from catalogs.product import join_paths
from classifier.metrics import pairs_at

__all__ = ["METRICS", "ONE_SIDED", "RESAMPLES", "Interval", "differences", "intervals", "label_differences", "wilson"]

Interval: TypeAlias = tuple[float, float]
Draws: TypeAlias = NDArray[np.float64]
_Measured: TypeAlias = Callable[[NDArray[np.int64], int], Draws]

METRICS = ("accuracy", "macro_f1", "weighted_f1")
RESAMPLES = 1_000
"""Resamples of an interval: its ends then move by about a twentieth of its length from seed to seed."""

ONE_SIDED = 0.95
"""How sure one is that a difference is not below its `low`, and as sure that it is not above its `high`."""

_PERCENTILES = (2.5, 97.5)
_BOUNDS = (100 * (1 - ONE_SIDED), 100 * ONE_SIDED)
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
        labels: their names.
        bundles: rows that are drawn together, as bundles × cells; None where each row is drawn alone.
        bundled: how often each bundle is there.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    given: list[NDArray[np.int64]]
    labels: list[str]
    bundles: sp.csr_matrix | None = None
    bundled: NDArray[np.int64] | None = None

    def drawn(self, seed: int) -> Iterator[NDArray[np.int64]]:
        """Counts of each resample, some resamples at a time."""
        rng = np.random.default_rng(seed)
        units = self.rows if self.bundled is None else self.bundled
        total, at_once = units.sum(), max(1, _DRAWN_AT_ONCE // max(len(units), len(self.rows)))
        parts = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
        drawn = (rng.multinomial(total, units / total, size=part) for part in parts)
        return drawn if self.bundles is None else (np.asarray(counts @ self.bundles) for counts in drawn)

    def metrics(self, counts: NDArray[np.int64], model: int = 0) -> Draws:
        """`METRICS` of a model in each resample (resamples × 3), as `classifier.metrics.evaluate` counts them."""
        support, right, either = self._sums(counts, model)
        f1 = _f1(right, either)
        rows = counts.sum(axis=1)
        macro = f1.sum(axis=1) / (either > 0).sum(axis=1)
        return np.column_stack([right.sum(axis=1) / rows, macro, (f1 * support).sum(axis=1) / rows])

    def label_f1(self, counts: NDArray[np.int64], model: int = 0) -> Draws:
        """F1 of each label in each resample (resamples × labels)."""
        _, right, either = self._sums(counts, model)
        return _f1(right, either)

    def _sums(self, counts: NDArray[np.int64], model: int) -> tuple[Draws, Draws, Draws]:
        """By label (resamples × labels): rows that have it, rows rightly given it, and the rows of either summed up."""
        given = self.given[model]
        support = _summed(counts, self.truth, len(self.labels))
        predicted = _summed(counts, given, len(self.labels))
        right = _summed(counts, np.where(given == self.truth, given, -1), len(self.labels))
        return support, right, support + predicted


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


def differences(
    truth: pl.Series, one: pl.Series, other: pl.Series, seed: int, together: pl.Series | None = None
) -> dict[str, dict[str, Any]]:
    """What `one` has over `other` on the same rows, by a paired bootstrap.

    Args:
        truth: right path of each row; rows without one are passed over.
        one: predicted path of the one model.
        other: predicted path of the other.
        seed: of the resamples.
        together: rows with the same value are drawn together, such as copies of a text; None: each row alone.

    Returns:
        metric → one, other (what each has), difference, interval (95 %), and low and high, of which each alone is sure
        to `ONE_SIDED`; nothing without rows.
    """
    cells = _compared(truth, one, other, together)
    return {} if cells is None else _differences(cells, cells.metrics, METRICS, seed)


def label_differences(
    truth: pl.Series,
    one: pl.Series,
    other: pl.Series,
    seed: int,
    together: pl.Series | None = None,
    *,
    least_rows: int = 1,
) -> dict[str, dict[str, Any]]:
    """`differences` of the F1 of every label that at least `least_rows` rows have: label → the same, and rows."""
    cells = _compared(truth, one, other, together)
    if cells is None:
        return {}
    support = np.bincount(cells.truth, weights=cells.rows, minlength=len(cells.labels)).astype(np.int64)
    large = np.flatnonzero(support >= least_rows)
    names = [cells.labels[label] for label in large]
    found = _differences(cells, lambda counts, model: cells.label_f1(counts, model)[:, large], names, seed)
    return {name: found[name] | {"rows": int(rows)} for name, rows in zip(names, support[large], strict=True)}


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


def _compared(truth: pl.Series, one: pl.Series, other: pl.Series, together: pl.Series | None) -> _Cells | None:
    table = pl.DataFrame({"truth": truth, "one": one, "other": other})
    paths = table.with_columns(join_paths(name) for name in table.columns)
    if together is None:
        return _cells(paths.drop_nulls("truth"))
    bundled = paths.with_columns(together.alias("#together")).drop_nulls("truth")
    cells = _cells(bundled.select(paths.columns))
    return None if cells is None else _bundled(cells, bundled, paths.columns)


def _bundled(cells: _Cells, table: pl.DataFrame, columns: Sequence[str]) -> _Cells:
    """The cells with rows of the same "#together" as bundles; equal bundles are counted, as equal rows are."""
    code = {name: number for number, name in enumerate(cells.labels)} | {None: -1}
    named = pl.DataFrame(dict(zip(columns, (cells.truth, *cells.given), strict=True))).with_row_index("cell")
    coded = table.select("#together", *(pl.col(name).replace_strict(code, return_dtype=pl.Int64) for name in columns))
    each = coded.join(named, on=list(columns)).group_by("#together").agg(pl.col("cell").sort())
    bundles = each.group_by("cell").agg(pl.len().cast(pl.Int64).alias("times")).sort("cell")
    lengths, members = bundles["cell"].list.len().to_numpy(), bundles["cell"].explode().to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sp.csr_matrix((np.ones(len(members), np.int64), members, ends), shape=(len(bundles), len(cells.rows)))
    return replace(cells, bundles=matrix, bundled=bundles["times"].to_numpy())


def _differences(cells: _Cells, measured: _Measured, names: Sequence[str], seed: int) -> dict[str, dict[str, Any]]:
    """Of everything that is measured, by name: what both models have, and how far that may be off."""
    whole = cells.rows[None, :]
    one, other = measured(whole, 0)[0], measured(whole, 1)[0]
    drawn = np.concatenate([measured(counts, 0) - measured(counts, 1) for counts in cells.drawn(seed)])
    ends, bounds = _ends(drawn), _ends(drawn, _BOUNDS)
    return {
        name: {
            "one": float(one[i]),
            "other": float(other[i]),
            "difference": float(one[i] - other[i]),
            "interval": ends[i],
            "low": bounds[i][0],
            "high": bounds[i][1],
        }
        for i, name in enumerate(names)
    }


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
    return _Cells(counted["#rows"].cast(pl.Int64).to_numpy(), truth, given, list(code))


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


def _f1(right: Draws, either: Draws) -> Draws:
    return np.divide(2.0 * right, either, out=np.zeros_like(either), where=either > 0)


def _ends(drawn: Draws, percentiles: tuple[float, float] = _PERCENTILES) -> list[Interval]:
    low, high = np.percentile(drawn, percentiles, axis=0)
    return [(float(one), float(other)) for one, other in zip(low, high, strict=True)]
