"""Character n-grams inside words, as vectors of words: what a model makes of a word that it has never seen.

A text's subword vector is the sum of its words' vectors, each of length 1 and weighted as in the word block. That makes
it linear in the words: once fitted, a known word's subwords fold into the weight of the word and cost nothing, and an
unknown word needs its vector once a batch.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier import kernels
from classifier.lookup import KeyLookup
from classifier.parts import Array, Rows, Tokens, weigh
from classifier.written import written

__all__ = ["Subwords", "gram_keys"]

# The scheme is part of every artifact (a golden test pins it): an n-gram's key is FNV-1a's offset basis, multiplied by
# the odd number below and increased by the code point, character after character, plus n in the end, all modulo 2**64.
_BASIS = np.uint64(0xCBF29CE484222325)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
# What is longer is no word but data that was pasted in: 10 MB of it would take more than a gigabyte.
_LONGEST_WORD = 100


def gram_keys(words: pl.Series, shortest: int, longest: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Keys of all character n-grams of words, each word (its first 100 characters) with a space before and after it.

    Returns:
        The keys, word by word, and where those of each word begin; a word of fewer characters than `shortest` has none.
    """
    # In plain Python: of the few unknown words of a product, Polars would take longer to begin.
    data, ends = written([f" {word[:_LONGEST_WORD]} " for word in words.to_list()])
    keys, starts = kernels.gram_keys(data, ends, shortest, longest, _BASIS, _FACTOR)
    return keys.view(np.uint64), starts


class Subwords:
    """The character n-grams that count, and the vectors of words made of them.

    Args:
        keys: keys of the n-grams, sorted.
        in_rows: in how many training texts each occurs, counted through its words; for the weights.
        rows: number of training texts.
        shortest: characters of the shortest n-gram.
        longest: characters of the longest.
    """

    def __init__(
        self, keys: NDArray[np.uint64], in_rows: NDArray[np.int64], rows: int, shortest: int, longest: int
    ) -> None:
        self.keys, self.in_rows, self.rows = keys, in_rows, rows
        self.shortest, self.longest = shortest, longest
        self._idf: Array = (np.log((1 + rows) / (1 + in_rows)) + 1).astype(np.float32)

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def learn(
        cls,
        words: pl.Series,
        word_rows: NDArray[np.int64],
        rows: int,
        shortest: int,
        longest: int,
        min_words: int,
        most: int,
    ) -> Subwords:
        """Collect the n-grams that occur in at least `min_words` of the words; at most `most`, commonest first.

        Args:
            words: distinct words of the training texts.
            word_rows: in how many texts each occurs.
            rows: number of texts.
            shortest: characters of the shortest n-gram.
            longest: characters of the longest.
            min_words: words that an n-gram must occur in.
            most: most n-grams.
        """
        keys, starts = gram_keys(words, shortest, longest)
        places = np.repeat(np.arange(len(words)), np.diff(starts))
        once = pl.DataFrame({"key": keys, "word": places}).unique()
        table = (
            once.with_columns(pl.Series("rows", word_rows[once["word"].to_numpy()], dtype=pl.Int64))
            .group_by("key")
            .agg(pl.len().alias("words"), pl.col("rows").sum().clip(upper_bound=rows))
            .filter(pl.col("words") >= min_words)
            .sort(["rows", "key"], descending=[True, False])
            .head(most)
            .sort("key")
        )
        return cls(table["key"].to_numpy(), table["rows"].to_numpy(), rows, shortest, longest)

    def vectors(self, words: pl.Series) -> Rows:
        """One row a word, of length 1: its n-grams by count and inverse frequency; empty where none is known."""
        keys, starts = gram_keys(words, self.shortest, self.longest)
        (rows,) = weigh([Tokens(self._lookup.ids(keys), len(self), self._idf)], starts)
        return rows

    @cached_property
    def _lookup(self) -> KeyLookup:
        return KeyLookup(self.keys)
