"""Sparse parts of a linear score: what one field contributes, in a shape that scores and explains fast.

SciPy's sparse matrices check and copy around every operation, which takes most of the time of a single product; the
rows here are plain arrays, and go to the routines underneath.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import _sparsetools
from typing_extensions import override

__all__ = [
    "Array",
    "Names",
    "Part",
    "Rows",
    "WordNames",
    "count_ids",
    "is_empty",
    "normalise_jointly",
    "per_entry",
    "score",
    "weighted",
]

# float32 everywhere but in the prototypes, whose last digits need float64.
Array: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Rows:
    """Products × tokens, row by row: a sparse matrix as plain arrays.

    Attributes:
        starts: where each row begins in `ids` and `values`; one longer than there are rows.
        ids: token of each entry, sorted within a row, each once.
        values: value of each entry.
        width: number of tokens that there are.
    """

    starts: NDArray[np.integer]
    ids: NDArray[np.integer]
    values: Array
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to_csr(self) -> sp.csr_matrix:
        """The same as SciPy has it; nothing is copied."""
        return sp.csr_matrix((self.values, self.ids, self.starts), shape=(len(self), self.width))


class Names(Protocol):
    """What tokens are called."""

    def many(self, ids: NDArray[np.integer]) -> pl.Series:
        """Names of many tokens (String)."""

    def few(self, ids: list[int]) -> list[str]:
        """Names of a few tokens."""


@dataclass(frozen=True)
class WordNames(Names):
    """Names that stand in a list; the place is the id."""

    words: pl.Series

    @override
    def many(self, ids: NDArray[np.integer]) -> pl.Series:
        return self.words.gather(ids)

    @override
    def few(self, ids: list[int]) -> list[str]:
        return [self.words[i] for i in ids]


@dataclass(frozen=True)
class Part:
    """Some tokens of some products, and what each token says.

    Attributes:
        field: the field that the tokens stand in.
        rows: products × tokens.
        weights: tokens × labels, of the same type, C order (the order in which sparse × dense reads it).
        names: what the tokens are called.
    """

    field: str
    rows: Rows
    weights: Array
    names: Names


def is_empty(values: pl.Series) -> bool:
    """Whether no product has a value, so that the field adds nothing."""
    return values.null_count() == len(values)


def score(parts: list[Part], intercept: Array, rows: int) -> Array:
    """Scores (rows × labels): the intercept, and what every token adds.

    Adds up row by row in the order of the entries, so a product gets the same bits alone and among a million others.
    """
    scores = np.empty((rows, len(intercept)), dtype=intercept.dtype)
    scores[:] = intercept
    flat = scores.ravel()
    for part in parts:
        _add_product(part.rows, part.weights, flat)
    return scores


def weighted(rows: Rows, weights: Array) -> Array:
    """The product of rows and weights (rows × labels)."""
    out = np.zeros((len(rows), weights.shape[1]), dtype=weights.dtype)
    _add_product(rows, weights, out.ravel())
    return out


def _add_product(rows: Rows, weights: Array, flat: Array) -> None:
    if len(rows.ids):
        labels = weights.shape[1]
        own = (rows.starts, rows.ids, rows.values)
        _sparsetools.csr_matvecs(len(rows), rows.width, labels, *own, weights.ravel(), flat)


def count_ids(
    ids: NDArray[np.int32], starts: NDArray[np.integer], width: int, dtype: type[np.floating] = np.float32
) -> Rows:
    """Occurrences of each id in each row; ids of -1 do not count."""
    fits = (len(starts) - 1) * width <= np.iinfo(np.uint32).max
    number: type[np.unsignedinteger[Any]] = np.uint32 if fits else np.uint64
    rows = np.arange(len(starts), dtype=number) * number(width)
    # A row and an id as one integer: NumPy sorts all of them at once with the processor's vector units, SciPy each row
    # by itself.
    keys = rows[:-1].repeat(np.diff(starts))
    keys += ids.view(np.uint32)
    known = ids >= 0
    if not known.all():
        keys = keys[known]
    keys.sort()
    new = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    first = new.nonzero()[0]
    kept = keys[first]
    ends = kept.searchsorted(rows).astype(np.int32 if len(kept) < np.iinfo(np.int32).max else np.int64)
    kept -= rows[:-1].repeat(np.diff(ends))
    return Rows(ends, kept.astype(ends.dtype), np.diff(first, append=len(keys)).astype(dtype), width)


def normalise_jointly(blocks: list[Rows], weight: float = 1.0) -> None:
    """Scale each row, over all blocks together, to the Euclidean length `weight`, in place. Empty rows stay empty."""
    squares = sum(_row_sums(block.values * block.values, block.starts) for block in blocks)
    lengths = np.sqrt(squares)
    scale = np.divide(weight, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    for block in blocks:
        np.multiply(block.values, per_entry(scale, block.starts), out=block.values)


def per_entry(of_rows: NDArray[Any], starts: NDArray[np.integer]) -> NDArray[Any]:
    """The value of its row for each entry; of a single row one for all."""
    return of_rows if len(of_rows) == 1 else of_rows.repeat(starts[1:] - starts[:-1])


def _row_sums(values: Array, starts: NDArray[np.integer]) -> Array:
    """Sum of each row's values, 0 for an empty row."""
    sums = np.zeros(len(starts) - 1, dtype=values.dtype)
    filled = np.flatnonzero(starts[1:] > starts[:-1])
    if len(filled):
        sums[filled] = np.add.reduceat(values, starts[filled])
    return sums
