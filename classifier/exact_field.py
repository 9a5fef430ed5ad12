"""Values as they stand, each one token: a brand, or each id of a list."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from typing_extensions import override

from catalogs.letter_case import lowered_texts
from classifier.design import Block
from classifier.fields import FieldVectoriser, inverse_frequency
from classifier.lookup import StringLookup
from classifier.parts import Array, Part, Rows, Tokens, WordNames, weigh
from classifier.recipes import WordParams
from classifier.tokens import text_starts
from classifier.written import Values, is_empty

__all__ = ["ExactField"]

_TEXT_ALONE = frozenset({str})


class ExactField(FieldVectoriser):
    """Exact tokens by inverse document frequency, scaled to one length; a value counts once a product.

    Args:
        name: the field.
        weight: Euclidean length of the field's vector.
        params: which tokens count.
        fold_case: whether "Sony" and "SONY" are the same.
    """

    def __init__(self, name: str, weight: float, params: WordParams, *, fold_case: bool) -> None:
        self.name = name
        self.weight = weight
        self.params = params
        self.fold_case = fold_case

    @property
    @override
    def widths(self) -> list[int]:
        return [len(self.lookup)]

    @property
    @override
    def droppable(self) -> list[bool]:
        return [True]

    @override
    def fit(self, values: pl.Series) -> list[Block]:
        tokens, starts = self._tokens(values)
        rows = pl.Series("row", np.repeat(np.arange(len(values)), np.diff(starts)))
        table = (
            pl.DataFrame({"token": tokens, "row": rows})
            .unique()
            .group_by("token")
            .agg(pl.len().cast(pl.Int64).alias("rows"))
            .filter(pl.col("rows") >= self.params.min_rows)
            .sort(["rows", "token"], descending=[True, False])
            .head(self.params.most)
            .sort("token")
        )
        self._take(table, len(values))
        return [self._vectors(self.lookup.ids(tokens), starts).to_csr()]

    @override
    def weigh(self, coefficients: list[Array]) -> None:
        (self.weights,) = coefficients

    @override
    def parts(self, values: Values) -> list[Part]:
        if is_empty(values):
            return []
        tokens, starts = self._tokens(values)
        return [Part(self.name, self._vectors(self.lookup.ids(tokens), starts), self.weights, self.names)]

    @override
    def tables(self) -> dict[str, pl.DataFrame]:
        return {"tokens": pl.DataFrame({"token": self.lookup.strings, "rows": self.in_rows})}

    @override
    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    @override
    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        self._take(tables["tokens"], rows)
        self.weights = arrays["weights"]

    def _take(self, table: pl.DataFrame, rows: int) -> None:
        self.lookup = StringLookup(table["token"].rechunk())
        self.in_rows = table["rows"].to_numpy()
        self.idf = inverse_frequency(self.in_rows, rows)

    @cached_property
    def names(self) -> WordNames:
        """What the tokens are called."""
        return WordNames(self.lookup.strings)

    def _tokens(self, values: Values) -> tuple[Values, NDArray[np.int64]]:
        if not isinstance(values, pl.Series):
            lists = [value if isinstance(value, list) else [] if value is None else [value] for value in values]
            if not set(map(type, itertools.chain.from_iterable(lists))) <= _TEXT_ALONE:
                lists = [[str(token) for token in own if token is not None] for own in lists]
            named = list(itertools.chain.from_iterable(lists))
            lengths = np.fromiter(map(len, lists), np.int64, len(lists))
            return lowered_texts(named) if self.fold_case else named, text_starts(lengths)
        if isinstance(values.dtype, pl.List):
            dropped = values.list.drop_nulls()
            lengths = dropped.list.len().fill_null(0).cast(pl.Int64).to_numpy()
            tokens = dropped.filter(pl.Series(lengths > 0)).explode()
        else:
            lengths = values.is_not_null().cast(pl.Int64).to_numpy()
            tokens = values.drop_nulls()
        tokens = tokens.cast(pl.String)
        return (tokens.str.to_lowercase() if self.fold_case else tokens).rename("token"), text_starts(lengths)

    def _vectors(self, ids: NDArray[np.int32], starts: NDArray[np.int64]) -> Rows:
        (rows,) = weigh([Tokens(ids, len(self.lookup), self.idf)], starts, self.weight, once=True)
        return rows
