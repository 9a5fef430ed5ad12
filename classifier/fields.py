"""What every kind of field gives: design matrices to fit on, and the parts that score and explain a product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier.design import Block
from classifier.parts import Array, Part
from classifier.written import Values

__all__ = ["FieldVectoriser", "inverse_frequency"]


class FieldVectoriser(ABC):
    """One field of a product, normalised on its own: a long description cannot drown a title.

    Attributes:
        name: the field; every token knows it.
        weight: Euclidean length of the field's vector.
    """

    name: str
    weight: float

    @property
    @abstractmethod
    def widths(self) -> list[int]:
        """Columns of each design matrix, in order."""

    @property
    @abstractmethod
    def droppable(self) -> list[bool]:
        """For each design matrix, whether a token that training did not show drops out of the field's length."""

    @abstractmethod
    def fit(self, values: pl.Series) -> list[Block]:
        """Learn from the field's values in training; the design matrices (rows × columns)."""

    @abstractmethod
    def weigh(self, coefficients: list[Array]) -> None:
        """Take the fitted coefficients (columns × labels), one array a design matrix."""

    @abstractmethod
    def parts(self, values: Values) -> list[Part]:
        """Tokens of some products with their weights; none where no product has a value."""

    @abstractmethod
    def tables(self) -> dict[str, pl.DataFrame]:
        """What was learnt of the field's values, for the artifact."""

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """The weights, for the artifact."""

    @abstractmethod
    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        """Take back what `tables` and `arrays` gave; `rows` is the number of training rows."""


def inverse_frequency(in_rows: NDArray[np.int64], rows: int) -> Array:
    """Inverse document frequency, smoothed as in scikit-learn: ln((1 + rows) / (1 + in_rows)) + 1."""
    return (np.log((1 + rows) / (1 + in_rows)) + 1).astype(np.float32)
