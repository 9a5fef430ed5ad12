"""Sparse parts of a linear score: what one field contributes, in a shape that scores and explains fast.

SciPy's sparse matrices check and copy around every operation, which takes most of the time of a single product; the
rows here are plain arrays.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from typing_extensions import override

from classifier import sums

__all__ = [
    "Array",
    "Counts",
    "Names",
    "Part",
    "Rows",
    "Tokens",
    "WordNames",
    "add_product",
    "count_ids",
    "score",
    "weigh",
    "weighted",
]

# Drawn in each process: else a text could be made of words whose ids share a slot, and take the square of their number.
_FACTOR = np.uint64(secrets.randbits(64) | 1)

_ALL = np.empty(0, dtype=np.int64)
"""What the compiled loop takes for all rows."""

_AS_TAKEN: Final = ("C", "A", "W")
"""How arrays have to lie that compiled loops take; they ask for writeable ones, whether or not they write."""

_FEW_NAMES = 8
"""Up to so many are sooner asked for one by one."""

# float32 everywhere but in the prototypes, whose last digits need float64.
Array: TypeAlias = NDArray[np.floating]


class Rows(NamedTuple):
    """Products × tokens, row by row: a sparse matrix as plain arrays.

    Attributes:
        starts: where each row begins in `ids` and `values` (int64); one longer than there are rows.
        ids: token of each entry (int32), each once a row.
        values: value of each entry.
        width: number of tokens that there are.
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    values: Array
    width: int

    @classmethod
    def of(cls, matrix: sp.csr_matrix) -> Rows:
        """A matrix of SciPy's; nothing is copied that the compiled loops take as it is."""
        starts, ids = np.require(matrix.indptr, np.int64, _AS_TAKEN), np.require(matrix.indices, np.int32, _AS_TAKEN)
        return cls(starts, ids, np.require(matrix.data, requirements=_AS_TAKEN), matrix.shape[1])

    def to_csr(self) -> sp.csr_matrix:
        """The same as SciPy has it."""
        return sp.csr_matrix((self.values, self.ids, self.starts), shape=(len(self.starts) - 1, self.width))


class Counts(NamedTuple):
    """How often tokens occur: products × tokens, row by row, tokens as they first come.

    Attributes:
        starts: where each row begins in `ids` and `times` (int64); one longer than there are rows.
        ids: token of each entry (int32), each once a row.
        times: how often it occurs (int32).
        width: number of tokens that there are.
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    times: NDArray[np.int32]
    width: int

    def rows(self, dtype: type[np.floating] = np.float32) -> Rows:
        """The counts as values."""
        return Rows(self.starts, self.ids, self.times.astype(dtype), self.width)


class Tokens(NamedTuple):
    """Tokens of some products, one after the other, as often as they occur.

    Attributes:
        ids: the tokens (int32); -1 does not count.
        width: number of tokens that there are.
        idf: weight of each token, or a single one for all of them (float32).
    """

    ids: NDArray[np.int32]
    width: int
    idf: Array


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
        if len(ids) > _FEW_NAMES:
            return self.words.gather(ids).to_list()
        return [self.words[i] for i in ids]


class Part(NamedTuple):
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


def score(parts: list[Part], intercept: Array, rows: int) -> Array:
    """Scores (rows × labels): the intercept, and what every token adds.

    Adds up row by row in the order of the entries, so a product gets the same bits alone and among a million others.
    """
    scores = np.empty((rows, len(intercept)), dtype=intercept.dtype)
    scores[:] = intercept
    for part in parts:
        add_product(part.rows, part.weights, scores)
    return scores


def weighted(rows: Rows, weights: Array) -> Array:
    """The product of rows and weights (rows × labels)."""
    out = np.zeros((len(rows.starts) - 1, weights.shape[1]), dtype=weights.dtype)
    add_product(rows, weights, out)
    return out


def add_product(rows: Rows, weights: Array, scores: Array, which: NDArray[np.int64] | None = None) -> None:
    """Add the product of rows, or of those that `which` names, and weights to scores (rows × labels), in place."""
    wanted = len(rows.starts) - 1 if which is None else len(which)
    if len(scores) != wanted:  # the loops would read on
        raise ValueError(f"scores of {len(scores)} rows for {wanted}")
    own = _ALL if which is None else which
    sums.add_product[weights.dtype](own, rows.starts, rows.ids, rows.values, weights, scores)


def count_ids(ids: NDArray[np.int32], starts: NDArray[np.int64], width: int) -> Counts:
    """Occurrences of each id in each row; ids of -1 do not count."""
    found, times, begins = sums.count(ids, starts, _FACTOR)
    return Counts(begins, found, times, width)


def weigh(
    blocks: Sequence[Tokens],
    starts: NDArray[np.int64],
    length: float = 1.0,
    *,
    sublinear: bool = False,
    once: bool = False,
) -> list[Rows]:
    """Counts times the weights of their tokens, each row scaled over all blocks together; empty rows stay empty.

    Args:
        blocks: tokens of the same rows.
        starts: where each row begins among a block's tokens.
        length: Euclidean length of each row.
        sublinear: whether n counts 1 + ln n.
        once: whether any n counts 1.
    """
    squares = np.zeros(len(starts) - 1)
    rows = []
    for ids, width, idf in blocks:
        found, values, begins = sums.weigh(ids, starts, _FACTOR, idf, sublinear, once, squares)
        rows.append(Rows(begins, found, values, width))
    for block in rows:
        sums.scale(block.values, block.starts, squares, length)
    return rows
