"""How text becomes words: one rule, for one text as for a million."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier import kernels
from classifier.lookup import StringLookup
from classifier.written import Values, written

__all__ = ["WORD", "WORD_WITH_MARKS", "Encoded", "TokenRule", "batches", "encode", "text_starts"]

# Two or more word characters. The first is `(?u)\b\w\w+\b` of scikit-learn: Python's \w is letters, numbers of all
# kinds and the underscore. The second also keeps combining marks, without which Hindi, Thai or decomposed accents fall
# into pieces.
WORD = r"[\p{L}\p{N}_]{2,}"
WORD_WITH_MARKS = r"[\p{L}\p{M}\p{N}_]{2,}"

_SURROGATES = slice(0xD800, 0xE000)
_CODE_POINTS = 0x110000


@dataclass(frozen=True)
class TokenRule:
    """What counts as a word.

    Attributes:
        lowercase: fold case first.
        strip_digits: drop decimal digits first, so that "100cm" is "cm".
        pattern: a word, as a regular expression of Rust's regex crate.
        stop_words: words that are dropped, as if they had not been written: their neighbours become neighbours.
    """

    lowercase: bool = True
    strip_digits: bool = False
    pattern: str = WORD
    stop_words: frozenset[str] = field(default_factory=frozenset)

    def lookup(self, words: pl.Series) -> StringLookup:
        """Word to id, and which words to pass over."""
        return StringLookup(words, self.stop_words)


@dataclass(frozen=True)
class Encoded:
    """Texts as ids of words.

    Attributes:
        ids: id of each word in order, -1 where it is not in the vocabulary.
        starts: where each text begins in `ids`; one longer than there are texts.
        unknown_ids: for each word that is not in the vocabulary its place in `unknown`, -1 for the others; None where
            nobody asked.
        unknown: the distinct words that are not in the vocabulary.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    unknown_ids: NDArray[np.int32] | None = None
    unknown: pl.Series | None = None

    @property
    def rows(self) -> int:
        """Number of texts."""
        return len(self.starts) - 1


def encode(texts: Values, rule: TokenRule, lookup: StringLookup, *, keep_unknown: bool = False) -> Encoded:
    """Split texts into words, and look them up; a null is an empty text.

    Args:
        texts: the texts.
        rule: what a word is.
        lookup: made by `rule.lookup`.
        keep_unknown: whether to collect the words that have no id.
    """
    if rule.strip_digits:
        texts = pl.Series(texts, dtype=pl.String)
        texts = (texts.str.to_lowercase() if rule.lowercase else texts).str.replace_all(r"\d+", "")
    if rule.pattern not in (WORD, WORD_WITH_MARKS):
        return _encode_by_pattern(pl.Series(texts, dtype=pl.String), rule, lookup, keep_unknown=keep_unknown)
    data, ends = written(texts, lowercase=rule.lowercase and not rule.strip_digits)
    table = lookup.table, lookup.shift, lookup.seed, lookup.factor, len(lookup), keep_unknown
    ids, starts, keys, begins, stops = kernels.encode(data, ends, _letters(rule.pattern), *table)
    if not keep_unknown:
        return Encoded(ids, starts)
    places, firsts = kernels.distinct(keys)
    unknown_ids = np.full(len(ids), -1, dtype=np.int32)
    unknown_ids[ids < 0] = places
    whole = data.tobytes()
    places_in_data = zip(begins[firsts].tolist(), stops[firsts].tolist(), strict=True)
    words = [whole[begin:stop].decode() for begin, stop in places_in_data]
    return Encoded(ids, starts, unknown_ids, pl.Series(words, dtype=pl.String))


def _encode_by_pattern(texts: pl.Series, rule: TokenRule, lookup: StringLookup, *, keep_unknown: bool) -> Encoded:
    """What `encode` gives, for any pattern."""
    texts = texts.str.to_lowercase() if rule.lowercase else texts
    lists = texts.fill_null("").str.extract_all(rule.pattern)
    if rule.stop_words:
        lists = lists.list.eval(pl.element().filter(~pl.element().is_in(sorted(rule.stop_words))))
    words = lists.explode(empty_as_null=False)
    ids, starts = lookup.ids(words), text_starts(lists.list.len().cast(pl.Int64).to_numpy())
    if not keep_unknown:
        return Encoded(ids, starts)
    unknown = words.filter(pl.Series(ids < 0)).unique()
    return Encoded(ids, starts, StringLookup(unknown).ids(words), unknown)


@lru_cache
def _letters(pattern: str) -> NDArray[np.bool_]:
    """Of each code point, whether it can be in a word, as Rust's regex crate knows it."""
    every = np.delete(np.arange(_CODE_POINTS, dtype=np.uint32), _SURROGATES).tobytes().decode("utf-32-le")
    runs = pl.select(pl.lit(every).str.extract_all(pattern.replace("{2,}", "+"))).item().to_list()
    letters = np.zeros(_CODE_POINTS, dtype=bool)
    letters[np.frombuffer("".join(runs).encode("utf-32-le"), dtype=np.uint32)] = True
    return letters


def batches(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def text_starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each text begins, and where the last one ends."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
