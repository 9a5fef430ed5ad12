"""From strings and pairs of integers to ids, millions at a time, free of the interpreter lock.

Both stand on one hash table. (A Polars join or an Enum cast would build its table again on every call.)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier import kernels
from classifier.written import Values, written

__all__ = ["KeyLookup", "PairLookup", "StringLookup"]

_SPREAD = 2
"""Slots a key, at least: with fewer, more of them are taken, and look-ups take longer."""
_KEY_BITS = 64


class StringLookup:
    """Position of a string in a list of distinct strings.

    Strings are known by a hash of 64 bits: a string that is not in the list is taken for one that is with a probability
    of its length / 2**64. The hash is never stored.

    Args:
        strings: those with an id.
        passed_over: further strings, which `encode` is to pass over.
    """

    def __init__(self, strings: pl.Series, passed_over: Iterable[str] = ()) -> None:
        self.strings = strings
        # Tables are also made of words that others send. With one seed for all, words could be chosen that begin at
        # one slot, and making a table of those takes the square of their number.
        self.seed, self.factor = (np.uint64(secrets.randbits(_KEY_BITS) | 1) for _ in range(2))
        self._strings = len(strings)
        every = pl.concat([strings, pl.Series(sorted(passed_over), dtype=pl.String)])
        self.shift = _shift(len(every))
        self.table = kernels.table_of(self._hashed(every), self.shift)

    def __len__(self) -> int:
        return self._strings

    def ids(self, strings: Values) -> NDArray[np.int32]:
        """Position of each string, -1 where it is unknown; those to pass over come after all others."""
        return kernels.find_all(self.table, self.shift, self._hashed(strings))

    def _hashed(self, strings: Values) -> NDArray[np.int64]:
        return kernels.hashes(*written(strings), self.seed, self.factor)


class KeyLookup:
    """Position of a number of 64 bits in a list of distinct numbers.

    Args:
        keys: the numbers (uint64).
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = len(keys)
        self._shift = _shift(len(keys))
        self._table = kernels.table_of(keys.astype(np.uint64).view(np.int64), self._shift)

    def __len__(self) -> int:
        return self._keys

    def ids(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Position of each number, -1 where it is unknown."""
        return kernels.find_all(self._table, self._shift, keys.view(np.int64))


class PairLookup(KeyLookup):
    """Id of a pair (first, second) of non-negative integers.

    Args:
        first: first of each pair.
        second: second of each pair.
    """

    def __init__(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> None:
        super().__init__((first.astype(np.uint64) << np.uint64(_KEY_BITS // 2)) | second.astype(np.uint64))

    def grams(
        self, current: NDArray[np.int32], ids: NDArray[np.int32], starts: NDArray[np.int64], reach: int
    ) -> NDArray[np.int32]:
        """Id of the run of words that begins at each word, -1 where none is known.

        Args:
            current: id of the run that is one word shorter, or -1; a pair's first.
            ids: id of each word, or -1; a pair's second.
            starts: where each text begins, and the last one ends.
            reach: words in the shorter run.
        """
        return kernels.find_grams(current, ids, starts, reach, self._table, self._shift)


def _shift(keys: int) -> np.uint64:
    """What leaves as many bits of a hash as number the slots of a table for so many keys."""
    return np.uint64(_KEY_BITS - (_SPREAD * max(2, keys) - 1).bit_length())
