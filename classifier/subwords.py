"""Character n-grams inside words, as vectors of words: what a model makes of a word that it has never seen.

A text's subword vector is the sum of its words' vectors, each of length 1 and weighted as in the word block. That makes
it linear in the words: once fitted, a known word's subwords fold into the weight of the word and cost nothing, and an
unknown word needs its vector once a batch.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier.parts import Array, Rows, normalise_jointly

__all__ = ["Subwords", "gram_keys"]

# The scheme is part of every artifact (a golden test pins it): an n-gram's key is FNV-1a's offset basis, multiplied by
# the odd number below and increased by the code point, character after character, plus n in the end, all modulo 2**64.
_BASIS = np.uint64(0xCBF29CE484222325)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio
_ID_BITS = 32  # word and n-gram in one integer
_BREAK = "\n"  # no word holds it
# What is longer is no word but data that was pasted in: 10 MB of it would take more than a gigabyte.
_LONGEST_WORD = 100


def gram_keys(words: pl.Series, shortest: int, longest: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Keys of all character n-grams of words, each word (its first 100 characters) with a space before and after it.

    Returns:
        The place of the word, and the key, of each n-gram; a word of fewer characters than `shortest` has none.
    """
    text = _BREAK.join(f" {word} " for word in words.str.slice(0, _LONGEST_WORD).to_list())
    characters = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    breaks = characters == ord(_BREAK)
    word_at = np.cumsum(breaks)
    keys = np.full(len(characters), _BASIS)
    inside = np.ones(len(characters), dtype=bool)
    places, found = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for n in range(1, longest + 1):
        count = max(len(characters) - n + 1, 0)
        keys = keys[:count] * _FACTOR + characters[n - 1 :]
        inside = inside[:count] & ~breaks[n - 1 :]
        if n >= shortest:
            starts = np.flatnonzero(inside)
            places.append(word_at[starts])
            found.append(keys[starts] + np.uint64(n))
    return np.concatenate(places), np.concatenate(found)


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
        places, keys = gram_keys(words, shortest, longest)
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
        places, keys = gram_keys(words, self.shortest, self.longest)
        ids = np.minimum(np.searchsorted(self.keys, keys), max(len(self) - 1, 0))
        known = self.keys[ids] == keys if len(self) else np.zeros(len(keys), dtype=bool)
        entries, counts = np.unique((places[known] << _ID_BITS) | ids[known], return_counts=True)
        own = (entries & ((1 << _ID_BITS) - 1)).astype(np.int32)
        starts = np.searchsorted(entries, np.arange(len(words) + 1) << _ID_BITS).astype(np.int32)
        rows = Rows(starts, own, counts.astype(np.float32) * self._idf[own], len(self))
        normalise_jointly([rows])
        return rows
