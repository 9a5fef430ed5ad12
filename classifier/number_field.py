"""A number as the bin that it falls into."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typing_extensions import override

from classifier.design import Block
from classifier.fields import FieldVectoriser
from classifier.parts import Array, Part, Rows, WordNames
from classifier.tokens import text_starts
from classifier.written import Values, is_empty

__all__ = ["NumberField"]


class NumberField(FieldVectoriser):
    """Bins of about as many training rows each; what is no finite number has no bin.

    Args:
        name: the field.
        weight: value of the bin's feature.
        bins: most bins; equal quantiles make fewer.
    """

    def __init__(self, name: str, weight: float, bins: int) -> None:
        self.name = name
        self.weight = weight
        self.bins = bins

    @property
    @override
    def widths(self) -> list[int]:
        return [len(self.edges) + 1]

    @property
    @override
    def droppable(self) -> list[bool]:
        return [False]

    @override
    def fit(self, values: pl.Series) -> list[Block]:
        numbers = _numbers(values)
        known = numbers[np.isfinite(numbers)]
        shares = np.arange(1, self.bins) / self.bins
        self._take(np.unique(np.quantile(known, shares, method="higher")) if len(known) else np.empty(0))
        return [self._vectors(numbers).to_csr()]

    @override
    def weigh(self, coefficients: list[Array]) -> None:
        (self.weights,) = coefficients

    @override
    def parts(self, values: Values) -> list[Part]:
        if is_empty(values):
            return []
        return [Part(self.name, self._vectors(_numbers(values)), self.weights, self.names)]

    @override
    def tables(self) -> dict[str, pl.DataFrame]:
        return {"edges": pl.DataFrame({"edge": self.edges})}

    @override
    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    @override
    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        self._take(tables["edges"]["edge"].to_numpy())
        self.weights = arrays["weights"]

    def _take(self, edges: NDArray[np.float64]) -> None:
        self.edges = edges
        texts = [f"{edge:.6g}" for edge in edges]
        inner = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
        names = [f"below {texts[0]}", *inner, f"{texts[-1]} or more"] if texts else ["any"]
        self.names = WordNames(pl.Series("token", names, dtype=pl.String))

    def _vectors(self, numbers: NDArray[np.float64]) -> Rows:
        known = np.isfinite(numbers)
        ids = np.searchsorted(self.edges, numbers[known], side="right").astype(np.int32)
        starts = text_starts(known)
        return Rows(starts, ids, np.full(len(ids), self.weight, dtype=np.float32), len(self.edges) + 1)


def _numbers(values: Values) -> NDArray[np.float64]:
    """Values as numbers; what is none is NaN."""
    if not isinstance(values, pl.Series):
        return np.array([_number(value) for value in values], dtype=np.float64)
    return values.cast(pl.Float64, strict=False).fill_null(math.nan).to_numpy()


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # beyond all floats: Polars has no such integer either
        return math.nan
