"""Sparse parts of a linear score: what one field contributes, in a shape that scores and explains fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import _sparsetools

__all__ = ["Array", "Part", "normalise_jointly", "row_sums", "score"]

# float32 everywhere but in the prototypes, whose last digits need float64.
Array: TypeAlias = NDArray[np.floating]


@dataclass(frozen=True)
class Part:
    """Some tokens of some products, and what each token says.

    Attributes:
        field: the field that the tokens stand in.
        matrix: products × tokens, CSR.
        weights: tokens × labels, of the same type, C order (the order in which sparse × dense reads it).
        names: ids of tokens → the tokens as people read them.
    """

    field: str
    matrix: sp.csr_matrix
    weights: Array
    names: Callable[[NDArray[np.int32]], pl.Series]


def score(parts: list[Part], intercept: Array, rows: int) -> Array:
    """Scores (rows × labels): the intercept, and what every token adds.

    Adds up row by row in the order of the entries, so a product gets the same bits alone and among a million others.
    """
    scores = np.tile(intercept, (rows, 1))
    labels = scores.shape[1]
    for part in parts:
        matrix = part.matrix
        # `scores += matrix @ weights` without the checks and the copy around SciPy's routine, which take most of the time
        # of one row.
        _sparsetools.csr_matvecs(
            rows, matrix.shape[1], labels, matrix.indptr, matrix.indices, matrix.data, part.weights.ravel(), scores.ravel()
        )
    return scores


def row_sums(values: NDArray[np.floating], starts: NDArray[np.integer]) -> NDArray[np.floating]:
    """Sum of each row's values (0 for an empty row); `starts` is one longer than there are rows."""
    sums = np.zeros(len(starts) - 1, dtype=values.dtype)
    filled = np.flatnonzero(np.diff(starts))
    if len(filled):
        sums[filled] = np.add.reduceat(values, starts[filled])
    return sums


def normalise_jointly(matrices: list[sp.csr_matrix], weight: float = 1.0) -> None:
    """Scale each row, over all matrices together, to the Euclidean length `weight`, in place. Empty rows stay empty."""
    squares = sum(row_sums(matrix.data * matrix.data, matrix.indptr) for matrix in matrices)
    lengths = np.sqrt(squares)
    scale = np.divide(weight, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32)
    for matrix in matrices:
        matrix.data *= np.repeat(scale, np.diff(matrix.indptr))
