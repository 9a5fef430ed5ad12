"""scikit-learn's TfidfVectorizer in Polars: the same matrix from the same parameters, several times faster."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted

from classifier.tokens import WORD, Encoded, TokenRule
from classifier.vocabulary import Vocabulary, learn

__all__ = ["TextVectoriser"]


class TextVectoriser(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    r"""Texts to a sparse TF-IDF matrix of words and word n-grams.

    The parameters are those of scikit-learn's TfidfVectorizer and mean the same, and the columns come in the same
    order. Three differ: `token_pattern` is a regular expression of Rust's regex crate (the default finds what
    `(?u)\b\w\w+\b` finds), `strip_digits` drops decimal digits before anything else, and `dtype` is float32.
    Characters that Python 3.11's Unicode tables do not know yet may be letters here.

    Args:
        ngram_range: shortest and longest run of words that is a feature.
        min_df: texts that a feature must occur in; a share of them when it is a float.
        max_df: texts that a feature may occur in at most; a share of them when it is a float.
        max_features: keep the features that occur most often.
        stop_words: "english" (scikit-learn's list), or a list of words to drop.
        lowercase: fold case first.
        strip_digits: drop decimal digits first.
        token_pattern: what a word is.
        binary: count a word once a text.
        sublinear_tf: a word that occurs n times counts 1 + ln n.
        use_idf: weigh by inverse document frequency.
        smooth_idf: as if one more text held every word.
        norm: "l2", "l1" or None.
        dtype: float32 or float64.
    """

    def __init__(
        self,
        *,
        ngram_range: tuple[int, int] = (1, 1),
        min_df: float = 1,
        max_df: float = 1.0,
        max_features: int | None = None,
        stop_words: str | Iterable[str] | None = None,
        lowercase: bool = True,
        strip_digits: bool = False,
        token_pattern: str = WORD,
        binary: bool = False,
        sublinear_tf: bool = False,
        use_idf: bool = True,
        smooth_idf: bool = True,
        norm: str | None = "l2",
        dtype: type = np.float32,
    ) -> None:
        self.ngram_range = ngram_range
        self.min_df = min_df
        self.max_df = max_df
        self.max_features = max_features
        self.stop_words = stop_words
        self.lowercase = lowercase
        self.strip_digits = strip_digits
        self.token_pattern = token_pattern
        self.binary = binary
        self.sublinear_tf = sublinear_tf
        self.use_idf = use_idf
        self.smooth_idf = smooth_idf
        self.norm = norm
        self.dtype = dtype

    def fit(self, raw_documents: Iterable[str | None] | pl.Series, y: ArrayLike | None = None) -> Self:
        """Learn vocabulary and document frequencies."""
        self.fit_transform(raw_documents, y)
        return self

    def fit_transform(
        self,
        raw_documents: Iterable[str | None] | pl.Series,
        y: ArrayLike | None = None,  # noqa: ARG002
    ) -> sp.csr_matrix:
        """Learn vocabulary and document frequencies, and give the matrix (texts × features).

        Raises:
            ValueError: no texts, or no feature is left.
        """
        texts = _texts(raw_documents)
        if not len(texts):
            raise ValueError("there are no texts to learn from")
        shortest, longest = self.ngram_range
        corpus = learn(texts, self.rule(), longest, 1)
        self._take(corpus.vocabulary, texts_seen=len(texts))
        counts = self._counts(corpus.parts, np.arange(self._width()))
        names = pl.concat([corpus.vocabulary.names(n).every() for n in range(shortest, longest + 1)])
        order = names.arg_sort().to_numpy()
        counts = counts[:, order]
        counts.sort_indices()
        if self.binary:  # before features are ranked by how often they occur
            counts.data.fill(1)
        in_texts = np.bincount(counts.indices, minlength=counts.shape[1])
        kept = self._kept(counts, in_texts)
        self._columns = np.full(self._width(), -1, dtype=np.int32)
        self._columns[order[kept]] = np.arange(len(kept), dtype=np.int32)
        self._names = names.gather(order[kept])
        self._weigh(in_texts[kept])
        return self._finish(counts[:, kept])

    def transform(self, raw_documents: Iterable[str | None] | pl.Series) -> sp.csr_matrix:
        """The matrix (texts × features) of any texts."""
        check_is_fitted(self, "_columns")
        encoded = self._vocabulary.encode(_texts(raw_documents))
        return self._finish(self._counts([encoded], self._columns))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:  # noqa: ARG002
        """The features as text, in the order of the columns."""
        check_is_fitted(self, "_columns")
        return np.asarray(self._names.to_list(), dtype=object)

    @property
    def names(self) -> pl.Series:
        """The features as text, in the order of the columns."""
        check_is_fitted(self, "_columns")
        return self._names

    @property
    def vocabulary_(self) -> dict[str, int]:
        """Feature → column."""
        check_is_fitted(self, "_columns")
        return {name: column for column, name in enumerate(self._names.to_list())}

    @property
    def idf_(self) -> NDArray[np.floating]:
        """Inverse document frequency of each feature."""
        check_is_fitted(self, "_columns")
        return np.asarray(self._idf)

    def tables(self) -> dict[str, pl.DataFrame]:
        """What was learnt, as tables that `restore` takes."""
        check_is_fitted(self, "_columns")
        sizes = self._vocabulary.sizes
        ends = np.cumsum([0, *([0] * (self.ngram_range[0] - 1)), *sizes[self.ngram_range[0] - 1 :]])
        columns = [self._columns[start:end] for start, end in itertools.pairwise(ends)]
        tables = {"words": pl.DataFrame({"word": self._vocabulary.words})}
        for n, (first, last) in enumerate(self._vocabulary.grams, start=2):
            tables[f"grams{n}"] = pl.DataFrame({"first": first, "last": last})
        for n, (name, own) in enumerate(zip(tables, columns, strict=True), start=1):
            if n >= self.ngram_range[0]:
                tables[name] = tables[name].with_columns(pl.Series("column", own))
        tables["features"] = pl.DataFrame({"feature": self._names, "rows": self._in_texts})
        return tables

    def restore(self, tables: dict[str, pl.DataFrame], texts_seen: int) -> Self:
        """Take back what `tables` gave; `texts_seen` is the number of texts that it was learnt from."""
        names = ["words", *(f"grams{n}" for n in range(2, self.ngram_range[1] + 1))]
        grams = tuple((tables[name]["first"].to_numpy(), tables[name]["last"].to_numpy()) for name in names[1:])
        self._take(Vocabulary(tables["words"]["word"].rechunk(), grams, self.rule()), texts_seen)
        used = names[self.ngram_range[0] - 1 :]
        self._columns = np.concatenate([tables[name]["column"].to_numpy() for name in used])
        self._names = tables["features"]["feature"]
        self._weigh(tables["features"]["rows"].to_numpy())
        return self

    def rule(self) -> TokenRule:
        """How text becomes words under these parameters."""
        if self.stop_words is None:
            stop_words: frozenset[str] = frozenset()
        elif isinstance(self.stop_words, str):
            if self.stop_words != "english":
                raise ValueError(f"stop_words can be 'english' or a list of words, not {self.stop_words!r}")
            stop_words = ENGLISH_STOP_WORDS
        else:
            stop_words = frozenset(self.stop_words)
        return TokenRule(self.lowercase, self.strip_digits, self.token_pattern, stop_words)

    def _take(self, vocabulary: Vocabulary, texts_seen: int) -> None:
        self._vocabulary = vocabulary
        self._texts_seen = texts_seen

    def _width(self) -> int:
        return sum(self._vocabulary.sizes[self.ngram_range[0] - 1 :])

    def _counts(self, parts: list[Encoded], columns: NDArray[np.integer]) -> sp.csr_matrix:
        """Counts of all parts, entry i in column columns[i]; -1 drops it."""
        blocks = []
        for part in parts:
            levels = self._vocabulary.counts(part)[self.ngram_range[0] - 1 :]
            matrices = [level.rows(self.dtype).to_csr() for level in levels]
            blocks.append(sp.hstack(matrices, format="csr", dtype=self.dtype))
        counts = sp.vstack(blocks, format="csr", dtype=self.dtype)
        place = columns[counts.indices]
        kept = place >= 0
        starts = np.concatenate([[0], np.cumsum(kept)])[counts.indptr]
        width = int(columns.max(initial=-1)) + 1
        counts = sp.csr_matrix((counts.data[kept], place[kept], starts), shape=(counts.shape[0], width))
        counts.sort_indices()
        return counts

    def _kept(self, counts: sp.csr_matrix, in_texts: NDArray[np.integer]) -> NDArray[np.integer]:
        """Columns that the limits leave, in order; the same arithmetic as in scikit-learn, ties included."""
        highest, lowest = (
            bar * self._texts_seen if isinstance(bar, float) else bar for bar in (self.max_df, self.min_df)
        )
        if highest < lowest:
            raise ValueError("max_df corresponds to fewer texts than min_df")
        kept = np.flatnonzero((in_texts <= highest) & (in_texts >= lowest))
        if self.max_features is not None:
            often = np.asarray(counts.sum(axis=0)).ravel()
            kept = np.sort(kept[(-often[kept]).argsort()[: self.max_features]])
        if not len(kept):
            raise ValueError("no word is left: the texts are empty, or min_df and max_df leave none")
        return kept

    def _weigh(self, in_texts: NDArray[np.integer]) -> None:
        self._in_texts = in_texts.astype(np.int64)
        more = int(self.smooth_idf)
        frequency: NDArray[np.floating] = self._in_texts.astype(self.dtype) + more
        self._idf = np.log((self._texts_seen + more) / frequency).astype(self.dtype) + self.dtype(1)

    def _finish(self, counts: sp.csr_matrix) -> sp.csr_matrix:
        if self.binary:
            counts.data.fill(1)
        if self.sublinear_tf:
            np.log(counts.data, out=counts.data)
            counts.data += 1
        if self.use_idf:
            counts.data *= self._idf[counts.indices]
        if self.norm is not None and counts.shape[0]:
            counts = normalize(counts, norm=self.norm, copy=False)
        return counts

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(raw_documents: Iterable[str | None] | pl.Series) -> pl.Series:
    if isinstance(raw_documents, str):
        raise ValueError("one text was given where a list of texts is expected")  # as scikit-learn does
    if isinstance(raw_documents, pl.Series):
        return raw_documents
    return pl.Series(list(raw_documents), dtype=pl.String, strict=True)
