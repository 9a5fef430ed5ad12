"""How each kind of field becomes sparse parts: words and n-grams of a text, exact tokens, bins of a number.

Every field is normalised on its own, so a long description cannot drown a title, and every token knows its field.
A vectoriser gives the design matrices that a model is fitted on, and, once weighed with the fitted coefficients, the parts
that score and explain a product.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from classifier.design import Block, Product
from classifier.lookup import StringLookup
from classifier.parts import Array, Part, normalise_jointly
from classifier.recipes import SubwordParams, WordParams
from classifier.subwords import Subwords
from classifier.tokens import WORD_WITH_MARKS, TokenRule
from classifier.vocabulary import Corpus, Encoded, Vocabulary, count_ids, learn, text_starts

__all__ = ["ExactField", "FieldVectoriser", "NumberField", "TextField", "inverse_frequency"]

class FieldVectoriser(Protocol):
    """One field of a product.

    Attributes:
        name: the field.
        weight: Euclidean length of its vector.
    """

    name: str
    weight: float

    @property
    def widths(self) -> list[int]:
        """Columns of each design matrix, in order."""

    @property
    def droppable(self) -> list[bool]:
        """For each design matrix, whether a token that training did not show would not count towards the field's length."""

    def fit(self, values: pl.Series) -> list[Block]:
        """Learn from the field's values in training; the design matrices (rows × columns), one a part."""

    def weigh(self, coefficients: list[Array]) -> None:
        """Take the fitted coefficients (columns × labels), one array a design matrix."""

    def parts(self, values: pl.Series) -> list[Part]:
        """Tokens of some products with their weights."""

    def tables(self) -> dict[str, pl.DataFrame]:
        """What was learnt of the field's values, for the artifact."""

    def arrays(self) -> dict[str, Array]:
        """The weights, for the artifact."""

    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        """Take back what `tables` and `arrays` gave; `rows` is the number of training rows."""


def inverse_frequency(in_rows: NDArray[np.int64], rows: int) -> Array:
    """Inverse document frequency, smoothed as in scikit-learn: ln((1 + rows) / (1 + in_rows)) + 1."""
    return (np.log((1 + rows) / (1 + in_rows)) + 1).astype(np.float32)


class TextField:
    """Words and word n-grams, TF-IDF, the field scaled to one length as a whole; beside them, folded in, its subwords.

    Args:
        name: the field.
        weight: Euclidean length of the field's vector.
        params: which words count.
        subwords: which character n-grams count; none with `longest` 0.
    """

    def __init__(self, name: str, weight: float, params: WordParams, subwords: SubwordParams) -> None:
        self.name = name
        self.weight = weight
        self.params = params
        self.subword_params = subwords
        self.subwords: Subwords | None = None

    @property
    def widths(self) -> list[int]:
        return self.vocabulary.sizes if self.subwords is None else [*self.vocabulary.sizes, len(self.subwords)]

    @property
    def droppable(self) -> list[bool]:
        # With subwords an unknown word still counts towards the field's length: only n-grams of words drop out of it.
        grams = [True] * len(self.vocabulary.grams)
        return [True, *grams] if self.subwords is None else [False, *grams, False]

    def fit(self, values: pl.Series) -> list[Block]:
        corpus = learn(values, _RULE, self.params.ngrams, self.params.min_rows, self.params.most)
        rare = corpus.parts[0].unknown if corpus.parts else None
        if self.subword_params.longest and rare is not None:
            self.subwords = self._learn_subwords(corpus, rare, len(values))
        self._restore(corpus.vocabulary, list(corpus.in_rows), len(values))
        batches = [self._vectors(part) for part in corpus.parts]
        blocks = [sp.vstack(own, format="csr", dtype=np.float32) for own in zip(*batches, strict=True)]
        if self.subwords is None or rare is None:
            return blocks
        *blocks, strange = blocks
        vectors = [self.subwords.vectors(words) for words in (corpus.vocabulary.words, rare)]
        for matrix in vectors:
            matrix.data *= np.float32(self.subword_params.weight)
        return [*blocks, Product((blocks[0], strange), tuple(vectors))]

    def weigh(self, coefficients: list[Array]) -> None:
        self.weights = coefficients
        if self.subwords is not None:
            *self.weights, own = coefficients
            self.subword_weights = own * np.float32(self.subword_params.weight)
            self.weights[0] = self.weights[0] + self.subwords.vectors(self.vocabulary.words) @ self.subword_weights

    def parts(self, values: pl.Series) -> list[Part]:
        encoded = self.vocabulary.encode(values, keep_unknown=self.subwords is not None)
        matrices = self._vectors(encoded)
        parts = [
            Part(self.name, matrix, own, partial(self.vocabulary.names_of, n))
            for n, (matrix, own) in enumerate(zip(matrices, self.weights, strict=False), start=1)
        ]
        if self.subwords is not None and encoded.unknown is not None and len(encoded.unknown):
            weights = np.ascontiguousarray(self.subwords.vectors(encoded.unknown) @ self.subword_weights)
            parts.append(Part(self.name, matrices[-1], weights, encoded.unknown.gather))
        return parts

    def tables(self) -> dict[str, pl.DataFrame]:
        tables = {"words": pl.DataFrame({"word": self.vocabulary.words, "rows": self.in_rows[0]})}
        for n, (first, last) in enumerate(self.vocabulary.grams, start=2):
            tables[f"grams{n}"] = pl.DataFrame({"first": first, "last": last, "rows": self.in_rows[n - 1]})
        if self.subwords is not None:
            tables["subwords"] = pl.DataFrame({"key": self.subwords.keys, "rows": self.subwords.in_rows})
        return tables

    def arrays(self) -> dict[str, Array]:
        arrays = {_weights_of(n): own for n, own in enumerate(self.weights, start=1)}
        return arrays if self.subwords is None else {**arrays, "subword_weights": self.subword_weights}

    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        words = tables["words"]
        names = [f"grams{n}" for n in range(2, self.params.ngrams + 1)]
        grams = tuple((tables[name]["first"].to_numpy(), tables[name]["last"].to_numpy()) for name in names)
        in_rows = [words["rows"].to_numpy(), *(tables[name]["rows"].to_numpy() for name in names)]
        self._restore(Vocabulary(words["word"].rechunk(), grams, _RULE), in_rows, rows)
        self.weights = [arrays[_weights_of(n)] for n in range(1, self.params.ngrams + 1)]
        if self.subword_params.longest:
            keys, key_rows = tables["subwords"]["key"].to_numpy(), tables["subwords"]["rows"].to_numpy()
            own = self.subword_params
            self.subwords = Subwords(keys, key_rows, rows, own.shortest, own.longest)
            self.subword_weights = arrays["subword_weights"]

    def _restore(self, vocabulary: Vocabulary, in_rows: list[NDArray[np.int64]], rows: int) -> None:
        self.vocabulary = vocabulary
        self.in_rows = in_rows
        self.idf = [inverse_frequency(own, rows) for own in in_rows]
        # A word that is not in the vocabulary counts as one that was seen once, in training as in prediction.
        self.rare_idf = inverse_frequency(np.ones(1, dtype=np.int64), rows)[0]

    def _learn_subwords(self, corpus: Corpus, rare: pl.Series, rows: int) -> Subwords:
        words = pl.concat([corpus.vocabulary.words, rare])
        in_rows = np.concatenate([corpus.in_rows[0], np.ones(len(rare), dtype=np.int64)])
        own = self.subword_params
        return Subwords.learn(words, in_rows, rows, own.shortest, own.longest, own.min_words, own.most)

    def _vectors(self, encoded: Encoded) -> list[sp.csr_matrix]:
        """Words, n-grams and, with subwords, unknown words of each text, scaled together."""
        matrices = self.vocabulary.counts(encoded)
        if self.subwords is not None and encoded.unknown_ids is not None and encoded.unknown is not None:
            matrices.append(count_ids(encoded.unknown_ids, encoded.starts, len(encoded.unknown), np.float32))
        for n, matrix in enumerate(matrices):
            if self.params.sublinear:
                np.log(matrix.data, out=matrix.data)
                matrix.data += 1
            matrix.data *= self.idf[n][matrix.indices] if n < len(self.idf) else self.rare_idf
        normalise_jointly(matrices, self.weight)
        return matrices


class ExactField:
    """Values as they stand, each one token: a brand, or each id of a list. A value counts once.

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
    def widths(self) -> list[int]:
        return [len(self.lookup)]

    @property
    def droppable(self) -> list[bool]:
        return [True]

    def fit(self, values: pl.Series) -> list[Block]:
        tokens, starts = self._tokens(values)
        rows = pl.Series("row", np.repeat(np.arange(len(values)), np.diff(starts)))
        table = (
            pl.DataFrame({"token": tokens, "row": rows})
            .unique()
            .group_by("token")
            .agg(pl.len().cast(pl.Int64).alias("rows"))
            .filter(pl.col("rows") >= self.params.min_rows)
            .top_k(self.params.most, by="rows")
            .sort("token")
        )
        self._restore(table, len(values))
        return [self._vectors(tokens, starts)]

    def weigh(self, coefficients: list[Array]) -> None:
        (self.weights,) = coefficients

    def parts(self, values: pl.Series) -> list[Part]:
        return [Part(self.name, self._vectors(*self._tokens(values)), self.weights, self.lookup.strings.gather)]

    def tables(self) -> dict[str, pl.DataFrame]:
        return {"tokens": pl.DataFrame({"token": self.lookup.strings, "rows": self.in_rows})}

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        self._restore(tables["tokens"], rows)
        self.weights = arrays["weights"]

    def _restore(self, table: pl.DataFrame, rows: int) -> None:
        self.lookup = StringLookup(table["token"].rechunk())
        self.in_rows = table["rows"].to_numpy()
        self.idf = inverse_frequency(self.in_rows, rows)

    def _tokens(self, values: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
        if values.dtype == pl.List:
            lists = values.list.drop_nulls()
            lengths = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
            tokens = lists.filter(pl.Series(lengths > 0)).explode()
        else:
            lengths = values.is_not_null().cast(pl.Int64).to_numpy()
            tokens = values.drop_nulls()
        tokens = tokens.cast(pl.String).str.strip_chars()
        return (tokens.str.to_lowercase() if self.fold_case else tokens).rename("token"), text_starts(lengths)

    def _vectors(self, tokens: pl.Series, starts: NDArray[np.int64]) -> sp.csr_matrix:
        matrix = count_ids(self.lookup.ids(tokens), starts, len(self.lookup), np.float32)
        matrix.data = self.idf[matrix.indices]
        normalise_jointly([matrix], self.weight)
        return matrix


class NumberField:
    """A number as the bin that it falls into; bins hold about as many training rows each.

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
    def widths(self) -> list[int]:
        return [len(self.edges) + 1]

    @property
    def droppable(self) -> list[bool]:
        return [False]

    def fit(self, values: pl.Series) -> list[Block]:
        known = _finite(values).drop_nulls().to_numpy()
        shares = np.arange(1, self.bins) / self.bins
        edges = np.unique(np.quantile(known, shares, method="higher")) if len(known) else np.empty(0)
        self._restore(edges)
        return [self._vectors(values)]

    def weigh(self, coefficients: list[Array]) -> None:
        (self.weights,) = coefficients

    def parts(self, values: pl.Series) -> list[Part]:
        return [Part(self.name, self._vectors(values), self.weights, self.names.gather)]

    def tables(self) -> dict[str, pl.DataFrame]:
        return {"edges": pl.DataFrame({"edge": self.edges})}

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:  # noqa: ARG002
        self._restore(tables["edges"]["edge"].to_numpy())
        self.weights = arrays["weights"]

    def _restore(self, edges: NDArray[np.float64]) -> None:
        self.edges = edges
        texts = [f"{edge:.6g}" for edge in self.edges]
        inner = [f"{low} to {high}" for low, high in zip(texts, texts[1:], strict=False)]
        names = [f"below {texts[0]}", *inner, f"{texts[-1]} or more"] if texts else ["any"]
        self.names = pl.Series("token", names, dtype=pl.String)

    def _vectors(self, values: pl.Series) -> sp.csr_matrix:
        numbers = _finite(values)
        known = numbers.is_not_null().to_numpy()
        ids = np.searchsorted(self.edges, numbers.drop_nulls().to_numpy(), side="right").astype(np.int32)
        data = np.full(len(ids), self.weight, dtype=np.float32)
        starts = np.concatenate([[0], np.cumsum(known)]).astype(np.int32)
        return sp.csr_matrix((data, ids, starts), shape=(len(values), len(self.edges) + 1))


# Combining marks belong to words here: see WORD_WITH_MARKS.
_RULE = TokenRule(pattern=WORD_WITH_MARKS)


def _weights_of(n: int) -> str:
    return "word_weights" if n == 1 else f"gram{n}_weights"


def _finite(values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(value=True), None)
