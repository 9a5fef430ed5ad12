"""Text: words and word n-grams by TF-IDF, and character n-grams folded into the words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from typing_extensions import override

from classifier.design import Block, Product
from classifier.fields import FieldVectoriser, inverse_frequency
from classifier.parts import Array, Part, Rows, Tokens, WordNames, weigh, weighted
from classifier.recipes import SubwordParams, WordParams
from classifier.subwords import Subwords
from classifier.tokens import WORD_WITH_MARKS, Encoded, TokenRule
from classifier.vocabulary import Corpus, Vocabulary, learn
from classifier.written import Values, is_empty

__all__ = ["TextField"]

# Combining marks belong to words here: see WORD_WITH_MARKS.
_RULE = TokenRule(pattern=WORD_WITH_MARKS)


class TextField(FieldVectoriser):
    """Words and word n-grams, TF-IDF, the field scaled to one length as a whole; beside them, folded in, its subwords.

    Args:
        name: the field.
        weight: Euclidean length of the field's vector.
        params: which words count.
        subwords: which character n-grams count, if any.
    """

    def __init__(self, name: str, weight: float, params: WordParams, subwords: SubwordParams) -> None:
        self.name = name
        self.weight = weight
        self.params = params
        self.subword_params = subwords
        self.subwords: Subwords | None = None

    @property
    @override
    def widths(self) -> list[int]:
        return self.vocabulary.sizes if self.subwords is None else [*self.vocabulary.sizes, len(self.subwords)]

    @property
    @override
    def droppable(self) -> list[bool]:
        # With subwords an unknown word still counts towards the field's length: only n-grams of words drop out of it.
        grams = [True] * len(self.vocabulary.grams)
        return [True, *grams] if self.subwords is None else [False, *grams, False]

    @override
    def fit(self, values: pl.Series) -> list[Block]:
        corpus = learn(values, _RULE, self.params.ngrams, self.params.min_rows, self.params.most)
        rare = corpus.parts[0].unknown if corpus.parts else None
        if self.subword_params.counted and rare is not None:
            self.subwords = self._learn_subwords(corpus, rare, len(values))
        self._take(corpus.vocabulary, list(corpus.in_rows), len(values))
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="vectors") as pool:
            batches = list(pool.map(lambda part: [rows.to_csr() for rows in self._vectors(part)], corpus.parts))
        corpus.parts.clear()  # the ids of all words: as much memory as the matrices that are now put together
        blocks = [sp.vstack(own, format="csr", dtype=np.float32) for own in zip(*batches, strict=True)]
        if self.subwords is None or rare is None:
            return blocks
        *blocks, strange = blocks
        vectors = [self.subwords.vectors(words).to_csr() for words in (corpus.vocabulary.words, rare)]
        for matrix in vectors:
            matrix.data *= np.float32(self.subword_params.weight)
        return [*blocks, Product((blocks[0], strange), tuple(vectors))]

    @override
    def weigh(self, coefficients: list[Array]) -> None:
        self.weights = list(coefficients)
        if self.subwords is not None:
            own = self.weights.pop()
            self.subword_weights = own * np.float32(self.subword_params.weight)
            # Linear in the words: what a known word's letters say is one more row of weights, added here once and for
            # all.
            self.weights[0] = (
                self.weights[0] + self.subwords.vectors(self.vocabulary.words).to_csr() @ self.subword_weights
            )

    @override
    def parts(self, values: Values) -> list[Part]:
        if is_empty(values):
            return []
        encoded = self.vocabulary.encode(values, keep_unknown=self.subwords is not None)
        blocks = self._vectors(encoded)
        parts = [
            Part(self.name, rows, own, self.vocabulary.names(n))
            for n, (rows, own) in enumerate(zip(blocks, self.weights, strict=False), start=1)
        ]
        if self.subwords is not None and encoded.unknown is not None and len(encoded.unknown):
            weights = weighted(self.subwords.vectors(encoded.unknown), self.subword_weights)
            parts.append(Part(self.name, blocks[-1], weights, WordNames(encoded.unknown)))
        return parts

    @override
    def tables(self) -> dict[str, pl.DataFrame]:
        tables = {"words": pl.DataFrame({"word": self.vocabulary.words, "rows": self.in_rows[0]})}
        for n, (first, last) in enumerate(self.vocabulary.grams, start=2):
            tables[f"grams{n}"] = pl.DataFrame({"first": first, "last": last, "rows": self.in_rows[n - 1]})
        if self.subwords is not None:
            tables["subwords"] = pl.DataFrame({"key": self.subwords.keys, "rows": self.subwords.in_rows})
        return tables

    @override
    def arrays(self) -> dict[str, Array]:
        arrays = {_weights_of(n): own for n, own in enumerate(self.weights, start=1)}
        return arrays if self.subwords is None else {**arrays, "subword_weights": self.subword_weights}

    @override
    def restore(self, tables: Mapping[str, pl.DataFrame], arrays: Mapping[str, Array], rows: int) -> None:
        words = tables["words"]
        names = [f"grams{n}" for n in range(2, self.params.ngrams + 1)]
        grams = tuple((tables[name]["first"].to_numpy(), tables[name]["last"].to_numpy()) for name in names)
        if self.subword_params.counted:
            own, learnt = self.subword_params, tables["subwords"]
            self.subwords = Subwords(
                learnt["key"].to_numpy(), learnt["rows"].to_numpy(), rows, own.shortest, own.longest
            )
            self.subword_weights = arrays["subword_weights"]
        in_rows = [words["rows"].to_numpy(), *(tables[name]["rows"].to_numpy() for name in names)]
        self._take(Vocabulary(words["word"].rechunk(), grams, _RULE), in_rows, rows)
        self.weights = [arrays[_weights_of(n)] for n in range(1, self.params.ngrams + 1)]

    def _take(self, vocabulary: Vocabulary, in_rows: list[NDArray[np.int64]], rows: int) -> None:
        self.vocabulary = vocabulary
        self.in_rows = in_rows
        self.idf = [inverse_frequency(own, rows) for own in in_rows]
        # A word that is not in the vocabulary counts as one that was seen once, in training as in prediction.
        self.rare_idf = inverse_frequency(np.ones(1, dtype=np.int64), rows)

    def _learn_subwords(self, corpus: Corpus, rare: pl.Series, rows: int) -> Subwords:
        words = pl.concat([corpus.vocabulary.words, rare])
        in_rows = np.concatenate([corpus.in_rows[0], np.ones(len(rare), dtype=np.int64)])
        own = self.subword_params
        return Subwords.learn(words, in_rows, rows, own.shortest, own.longest, own.min_words, own.most)

    def _vectors(self, encoded: Encoded) -> list[Rows]:
        """Words, n-grams and, with subwords, unknown words of each text, scaled together."""
        runs = zip(self.vocabulary.runs(encoded), self.idf, strict=True)
        blocks = [Tokens(ids, len(idf), idf) for ids, idf in runs]
        if self.subwords is not None and encoded.unknown_ids is not None and encoded.unknown is not None:
            blocks.append(Tokens(encoded.unknown_ids, len(encoded.unknown), self.rare_idf))
        return weigh(blocks, encoded.starts, self.weight, sublinear=self.params.sublinear)


def _weights_of(n: int) -> str:
    return "word_weights" if n == 1 else f"gram{n}_weights"
