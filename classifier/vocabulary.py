"""The words and word n-grams of a corpus, learnt in batches, and their counts in any text as sparse matrices."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier import kernels
from classifier.lookup import PairLookup, StringLookup
from classifier.parts import Counts, count_ids
from classifier.tokens import Encoded, TokenRule, batches, encode
from classifier.written import Values

__all__ = ["Corpus", "GramNames", "Vocabulary", "learn"]

# Rows tokenised at once: large enough for Polars, small enough for memory (about 1 KiB of text and 1 KiB of ids a row).
BATCH_ROWS = 25_000
# Distinct n-grams that are held before batches are summed up: about 0.5 GiB.
_PENDING_GRAMS = 20_000_000


@dataclass(frozen=True)
class Vocabulary:
    """Words, and the n-grams of them that are worth counting.

    Attributes:
        words: distinct words, sorted by code point; the position is the id.
        grams: for n = 2, 3, …: pairs (id of the first n-1 words, id of the last word), sorted; the position is the id.
        rule: how text becomes words.
    """

    words: pl.Series
    grams: tuple[tuple[NDArray[np.int32], NDArray[np.int32]], ...]
    rule: TokenRule

    @cached_property
    def lookup(self) -> StringLookup:
        """Word to id."""
        return self.rule.lookup(self.words)

    @cached_property
    def gram_lookups(self) -> tuple[PairLookup, ...]:
        """Pair to id, for each n from 2."""
        return tuple(PairLookup(first, last) for first, last in self.grams)

    @property
    def sizes(self) -> list[int]:
        """Number of entries for each n from 1."""
        return [len(self.words), *(len(first) for first, _ in self.grams)]

    def encode(self, texts: Values, *, keep_unknown: bool = False) -> Encoded:
        """Split texts into words and look them up."""
        return encode(texts, self.rule, self.lookup, keep_unknown=keep_unknown)

    def runs(self, encoded: Encoded) -> list[NDArray[np.int32]]:
        """For each n from 1, id of the run of n words that begins at each word, -1 where none is known."""
        runs = [encoded.ids]
        for reach, lookup in enumerate(self.gram_lookups, start=1):
            runs.append(lookup.grams(runs[-1], encoded.ids, encoded.starts, reach))
        return runs

    def counts(self, encoded: Encoded) -> list[Counts]:
        """How often each entry occurs in each text: one block (texts × entries) for each n from 1."""
        runs = zip(self.runs(encoded), self.sizes, strict=True)
        return [count_ids(ids, encoded.starts, size) for ids, size in runs]

    def names(self, n: int) -> GramNames:
        """What the entries of that n are called."""
        return GramNames(self, n)

    @cached_property
    def word_list(self) -> list[str]:
        """The words as Python has them; made when a few texts are first asked for."""
        words: list[str] = self.words.to_list()
        return words


@dataclass(frozen=True)
class GramNames:
    """What a vocabulary's words, or its n-grams, are called: words joined by a space."""

    vocabulary: Vocabulary
    n: int

    def every(self) -> pl.Series:
        """Every name, in the order of the ids."""
        return self.many(np.arange(self.vocabulary.sizes[self.n - 1]))

    def many(self, ids: NDArray[np.integer]) -> pl.Series:
        """Names of many entries."""
        words = self.vocabulary.words
        if self.n == 1:
            return words.gather(ids)
        first, last = self.vocabulary.grams[self.n - 2]
        return GramNames(self.vocabulary, self.n - 1).many(first[ids]) + " " + words.gather(last[ids])

    def few(self, ids: list[int]) -> list[str]:
        """Names of a few entries."""
        words = self.vocabulary.word_list
        if self.n == 1:
            return [words[i] for i in ids]
        first, last = self.vocabulary.grams[self.n - 2]
        starts = GramNames(self.vocabulary, self.n - 1).few(first[ids].tolist())
        return [f"{start} {words[i]}" for start, i in zip(starts, last[ids].tolist(), strict=True)]


@dataclass(frozen=True)
class Corpus:
    """What learning leaves behind: the vocabulary, how common its entries are, and the corpus as ids.

    Attributes:
        vocabulary: every entry that occurs in at least `min_rows` texts.
        in_rows: for each n, in how many texts an entry occurs (int64).
        parts: the corpus, encoded, batch by batch; all batches share one list of unknown words: those that are too
            rare.
    """

    vocabulary: Vocabulary
    in_rows: tuple[NDArray[np.int64], ...]
    parts: list[Encoded]


def learn(texts: pl.Series, rule: TokenRule, longest: int, min_rows: int, most: int | None = None) -> Corpus:
    """Collect the words and n-grams up to `longest` words that occur in at least `min_rows` texts.

    With `most`, the bar is raised until no more entries than that are left, words first. Tokenises once; holds the ids
    of all words (4 bytes each) and, for one n at a time, the distinct n-grams. An n-gram that is common enough is made
    of words that are, so nothing is lost by dropping rare words first.
    """
    words, in_rows, parts = _learn_words(texts, rule, min_rows, most)
    left = None if most is None else most - len(words)
    grams: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
    rows_of = [in_rows]
    current = [part.ids for part in parts]
    for n in range(2, longest + 1):
        table = _most_common(_learn_grams(current, parts, n, min_rows), left).sort("key")
        left = None if left is None else left - table.height
        keys = table["key"].to_numpy()
        first, last = (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)
        grams.append((first, last))
        rows_of.append(table["rows"].to_numpy())
        if n < longest:
            lookup = PairLookup(first, last)
            current = [
                lookup.grams(ids, part.ids, part.starts, n - 1) for ids, part in zip(current, parts, strict=True)
            ]
    vocabulary = Vocabulary(words, tuple(grams), rule)
    return Corpus(vocabulary, tuple(rows_of), parts)


def _learn_words(
    texts: pl.Series, rule: TokenRule, min_rows: int, most: int | None
) -> tuple[pl.Series, NDArray[np.int64], list[Encoded]]:
    empty = pl.DataFrame(schema={"word": pl.String, "rows": pl.Int64})
    none = rule.lookup(empty["word"])

    def of_batch(rows: slice) -> tuple[pl.DataFrame, Encoded]:
        """Words of one batch with the number of texts they are in, and the batch in ids of those words."""
        own = encode(texts[rows], rule, none, keep_unknown=True)
        assert own.unknown is not None
        assert own.unknown_ids is not None
        ids = count_ids(own.unknown_ids, own.starts, len(own.unknown)).ids
        in_rows = np.bincount(ids, minlength=len(own.unknown))
        return pl.DataFrame({"word": own.unknown, "rows": in_rows}), Encoded(own.unknown_ids, own.starts)

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="words") as pool:
        learnt = list(pool.map(of_batch, batches(len(texts), BATCH_ROWS)))
    everything = pl.concat([empty, *(table for table, _ in learnt)]).group_by("word").agg(pl.col("rows").sum())
    table = _most_common(everything.filter(pl.col("rows") >= min_rows), most).sort("word")
    words = table["word"].rechunk()
    rare = everything.join(table, on="word", how="anti")["word"].sort().rechunk()
    lookup = StringLookup(pl.concat([words, rare]))
    parts = [_joined(lookup.ids(own["word"]), part, len(words), rare) for own, part in learnt]
    return words, table["rows"].to_numpy(), parts


def _joined(ids_of_own: NDArray[np.int32], part: Encoded, known: int, rare: pl.Series) -> Encoded:
    """A batch in ids of its own words, put into ids of all words: first those `known`, then the rare ones."""
    ids = ids_of_own[part.ids] if len(ids_of_own) else part.ids
    is_known = ids < known
    return Encoded(np.where(is_known, ids, -1), part.starts, np.where(is_known, -1, ids - known).astype(np.int32), rare)


def _learn_grams(current: list[NDArray[np.int32]], parts: list[Encoded], n: int, min_rows: int) -> pl.DataFrame:
    def of_batch(own: tuple[NDArray[np.int32], Encoded]) -> pl.DataFrame:
        ids, part = own
        keys, rows = kernels.tally_pairs(ids, part.ids, part.starts, n - 1)
        return pl.DataFrame({"key": keys, "rows": rows})

    pending = [pl.DataFrame(schema={"key": pl.Int64, "rows": pl.Int64})]
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="grams") as pool:
        every = list(zip(current, parts, strict=True))
        for few in batches(len(every), os.cpu_count() or 1):  # all at once would be held all at once
            pending += pool.map(of_batch, every[few])
            if sum(table.height for table in pending) > _PENDING_GRAMS:
                pending = [_summed(pending)]
    return _summed(pending).filter(pl.col("rows") >= min_rows)


def _most_common(table: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """The commonest entries, at most `most`; those that are equally common stay or go together."""
    if most is None or table.height <= most:
        return table
    bar = table["rows"].sort(descending=True)[max(most, 0)]
    return table.filter(pl.col("rows") > bar)


def _summed(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(tables).group_by("key").agg(pl.col("rows").sum())
