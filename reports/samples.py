"""Two samples of one quantity, reference and current: their distance, what chance makes of it, and what moved.

Where whole ranges and refreshes come in at once, rows are not dealt out at random: there, what ordinary increments of
the reference would make of the distance is asked for (`counted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from reports.distances import (
    Floats,
    Method,
    distance,
    earth_mover,
    gathered,
    null_of_bags,
    null_of_counts,
    null_of_values,
    wasserstein,
)
from reports.page import cut, number, share

if TYPE_CHECKING:
    import scipy.sparse as sp

    from reports.increments import Counted

__all__ = ["OTHERS", "Bags", "Categories", "Numbers", "Sample"]

# What all categories beyond the most frequent ones are counted as.
OTHERS = "(all others)"
# How many of the categories that moved most are named.
_NAMED = 3
# Up to so many distinct values, numbers are compared value by value and not in bins (as Evidently does).
_FEW_VALUES = 20


class Sample(Protocol):
    """What can be compared."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows that have a value: reference, current."""

    def score(self, method: Method) -> float:
        """The distance; both sides have rows."""

    def null(self, method: Method, *, shuffles: int, rng: np.random.Generator) -> Floats:
        """Distances of the pooled rows dealt out again at random; both sides have rows."""

    def counted(self, method: Method) -> Counted:
        """What each row of the reference holds, and the distance of two sides of them; NaN where one has no value."""

    def change(self, method: Method) -> str:
        """What moved, in words; both sides have rows."""


@dataclass(frozen=True)
class Categories:
    """At most one category a row; null where there is none.

    Attributes:
        reference: String.
        current: String.
        shown: the only category to name in words, when the other one says nothing new.
    """

    reference: pl.Series
    current: pl.Series
    shown: str | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows that have a category."""
        return self.reference.count(), self.current.count()

    def score(self, method: Method) -> float:
        """Distance of the two mixes."""
        _, reference, current = self._counts()
        return float(distance(method, reference, current))

    def null(self, method: Method, *, shuffles: int, rng: np.random.Generator) -> Floats:
        """The mixes after shuffling rows."""
        _, reference, current = self._counts()
        return null_of_counts(method, reference, current, shuffles=shuffles, rng=rng)

    def counted(self, method: Method) -> Counted:
        """Each row's category."""
        return _one_hot(self.reference.cast(pl.Categorical).to_physical()), partial(distance, method)

    def change(self, method: Method) -> str:
        """The categories that moved most, as shares of rows."""
        names, reference, current = self._counts()
        if self.shown is not None:
            kept = [at for at, name in enumerate(names) if name == self.shown]
            before, after = reference[kept].sum() / reference.sum(), current[kept].sum() / current.sum()
            return _moved(self.shown, before, after)
        shares = reference / reference.sum(), current / current.sum()
        return _new(names, *shares) if method == "new_share" else _movers(names, *shares)

    def _counts(self) -> tuple[list[str], Floats, Floats]:
        both = pl.DataFrame(
            {
                "value": pl.concat([self.reference, self.current]).cast(pl.String),
                "current": np.repeat([False, True], [len(self.reference), len(self.current)]),
            }
        )
        counts = (
            both.drop_nulls("value")
            .group_by("value")
            .agg(reference=(~pl.col("current")).sum(), current=pl.col("current").sum())
            .sort("value")
        )
        sides = (counts[side].to_numpy().astype(np.float64) for side in ("reference", "current"))
        return counts["value"].to_list(), *sides  # type: ignore[return-value]


@dataclass(frozen=True)
class Numbers:
    """A number a row; null where there is none.

    Attributes:
        reference: Float64, finite.
        current: Float64, finite.
        log: the values are log(1 + x), signs kept, and are said in words as x.
        digits: decimals in words.
    """

    reference: pl.Series
    current: pl.Series
    log: bool = False
    digits: int = 0

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows that have a number."""
        return self.reference.count(), self.current.count()

    def score(self, method: Method) -> float:
        """Distance of the two distributions."""
        if method == "wasserstein":
            return wasserstein(*self._values())
        return float(distance(method, *self._counts()))

    def null(self, method: Method, *, shuffles: int, rng: np.random.Generator) -> Floats:
        """The distributions after shuffling rows."""
        if method == "wasserstein":
            return null_of_values(*self._values(), shuffles=shuffles, rng=rng)
        return null_of_counts(method, *self._counts(), shuffles=shuffles, rng=rng)

    def counted(self, method: Method) -> Counted:
        """Each row's bin."""
        values = self.reference.drop_nulls().to_numpy()
        support = gathered(np.sort(values))[0] if method == "wasserstein" else self._edges()
        nearest = np.searchsorted((support[1:] + support[:-1]) / 2, values)
        places = self.reference.to_frame("value").with_row_index("row").drop_nulls("value")["row"]
        codes = np.full(len(self.reference), -1)
        codes[places.to_numpy()] = nearest
        score = partial(earth_mover, support) if method == "wasserstein" else partial(distance, method)
        return _one_hot(pl.Series(codes).replace(-1, None), len(support)), score

    def change(self, method: Method) -> str:  # noqa: ARG002 - numbers are told alike, whatever the distance
        """Median and middle half of both sides."""
        before, after = (self._quartiles(values) for values in self._values())
        return f"median {before[1]} → {after[1]} (middle half {before[0]} to {before[2]} → {after[0]} to {after[2]})"

    def _quartiles(self, values: Floats) -> list[str]:
        found = np.quantile(values, [0.25, 0.5, 0.75])
        if self.log:
            found = np.sign(found) * np.expm1(np.abs(found))
        return [number(float(value), self.digits) for value in found]

    def _values(self) -> tuple[Floats, Floats]:
        return self.reference.drop_nulls().to_numpy(), self.current.drop_nulls().to_numpy()

    def _edges(self) -> Floats:
        """Ends of the bins that values are counted in; the values themselves where there are few."""
        reference, current = self._values()
        pooled = np.concatenate([reference, current])
        if len(np.unique(reference)) > _FEW_VALUES:
            return np.asarray(np.histogram_bin_edges(pooled, bins="sturges"))
        return np.unique(pooled)

    def _counts(self) -> tuple[Floats, Floats]:
        reference, current = self._values()
        edges = self._edges()
        if len(np.unique(reference)) > _FEW_VALUES:
            places = [np.digitize(side, edges[1:-1]) for side in (reference, current)]
            width = len(edges) - 1
        else:
            places = [np.searchsorted(edges, side) for side in (reference, current)]
            width = len(edges)
        first, second = (np.bincount(side, minlength=width).astype(np.float64) for side in places)
        return first, second


@dataclass(frozen=True)
class Bags:
    """Several categories a row, such as the words of a text, or none.

    Attributes:
        bags: rows x categories, counts; the reference's rows first.
        n_reference: rows of the reference.
        names: the categories.
        shown: see Categories.
    """

    bags: sp.csr_array
    n_reference: int
    names: Sequence[str]
    shown: str | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows that have any category."""
        held = np.diff(self.bags.indptr) > 0
        return int(held[: self.n_reference].sum()), int(held[self.n_reference :].sum())

    def score(self, method: Method) -> float:
        """Distance of the two mixes of all entries."""
        return float(distance(method, *self._counts()))

    def null(self, method: Method, *, shuffles: int, rng: np.random.Generator) -> Floats:
        """The mixes after shuffling whole rows."""
        # Rows without entries are not dealt: a side could be left with nothing to compare.
        held = self.bags[np.diff(self.bags.indptr) > 0]
        return null_of_bags(method, held, self.sizes[1], shuffles=shuffles, rng=rng)

    def counted(self, method: Method) -> Counted:
        """Each row's entries."""
        return self.bags[: self.n_reference], partial(distance, method)

    def change(self, method: Method) -> str:
        """The categories that moved most, as shares of rows that have them."""
        reference, current = self._counts()
        before, after = reference / reference.sum(), current / current.sum()
        if self.shown is not None:
            at = list(self.names).index(self.shown)
            return _moved(self.shown, before[at], after[at])
        n_reference, n_current = self.sizes
        # Of single words people want to know in how many rows they stand, not their share of all words.
        held = (self.bags > 0).astype(np.float64)
        rows = [np.asarray(part.sum(axis=0)).ravel() for part in (held[: self.n_reference], held[self.n_reference :])]
        named = [at for at, name in enumerate(self.names) if name != OTHERS]
        shares = rows[0][named] / n_reference, rows[1][named] / n_current
        if method == "new_share":
            new = float(after[reference == 0].sum())
            return f"new: {share(new)} of the entries; {_new([self.names[at] for at in named], *shares)}"
        return _movers([self.names[at] for at in named], *shares)

    def _counts(self) -> tuple[Floats, Floats]:
        parts = (self.bags[: self.n_reference], self.bags[self.n_reference :])
        reference, current = (np.asarray(part.sum(axis=0), dtype=np.float64).ravel() for part in parts)
        return reference, current


def _movers(names: Sequence[str], before: Floats, after: Floats) -> str:
    order = np.argsort(-np.abs(after - before), kind="stable")[:_NAMED]
    return ", ".join(_moved(names[at], before[at], after[at]) for at in order)


def _new(names: Sequence[str], before: Floats, after: Floats) -> str:
    """The commonest of those that the reference does not have."""
    new = np.flatnonzero((before == 0) & (after > 0))
    return _movers([names[int(at)] for at in new], before[new], after[new]) if len(new) else "nothing new"


def _moved(name: str, before: float, after: float) -> str:
    return f"{cut(name, 60)} {share(float(before))} → {share(float(after))}"


def _one_hot(codes: pl.Series, width: int | None = None) -> sp.csr_array:
    """Rows × categories with a one at each row's category; a row without one is empty."""
    import scipy.sparse as sp

    rows = codes.is_not_null().arg_true().to_numpy()
    places = codes.drop_nulls().cast(pl.Int64).to_numpy()
    width = width or int(places.max(initial=0)) + 1
    return sp.csr_array((np.ones(len(rows), dtype=np.float32), (rows, places)), shape=(len(codes), width))
