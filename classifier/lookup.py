"""From strings and pairs of integers to ids, millions at a time, without Python loops and free of the interpreter lock.

Both stand on one hash table that is read with NumPy, all keys of a call at once. (A Polars join or an Enum cast would
build its table again on every call.)
"""

from __future__ import annotations

import secrets

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["PairLookup", "StringLookup"]

_SPREAD = 4
"""Slots a key, at least: with fewer, more of them are taken, and look-ups take longer."""
_KEY_BITS = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Fibonacci hashing (Knuth, volume 3, 6.4)


class StringLookup:
    """Position of a string in a list of distinct strings.

    Strings are known by Polars' hash of 64 bits: a string that is not in the list is taken for one that is with a
    probability of its length / 2**64. The hash is never stored, so a Polars upgrade cannot move anything.
    """

    def __init__(self, strings: pl.Series) -> None:
        self.strings = strings
        # Tables are also made of words that others send. With one seed for all, words could be chosen that begin at
        # one slot, and making a table of those takes the square of their number.
        self._seed = secrets.randbits(_KEY_BITS)
        self._table = _HashTable(self._hashed(strings))

    def __len__(self) -> int:
        return len(self.strings)

    def ids(self, strings: pl.Series) -> NDArray[np.int32]:
        """Position of each string, -1 where it is unknown."""
        return self._table.places(self._hashed(strings))

    def _hashed(self, strings: pl.Series) -> NDArray[np.uint64]:
        return strings.hash(self._seed).to_numpy()


class PairLookup:
    """Id of a pair (first, second) of non-negative integers.

    Args:
        first: first of each pair, sorted together with `second`.
        second: second of each pair.
    """

    def __init__(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> None:
        self._keys = _joined(first, second)
        self._table = _HashTable(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def ids(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
        """Id of each pair, -1 where it is unknown. No value may be negative."""
        return self._table.places(_joined(first, second))

    def places(self, keys: list[int]) -> list[int]:
        """Id of each of a few pairs, given as first << 32 | second; -1 where it is unknown or below 0.

        By binary search: of so few, it takes less time than to begin with the table.
        """
        if not len(self):
            return [-1] * len(keys)
        asked = np.array(keys, dtype=np.int64).view(np.uint64)  # below 0: above every pair
        found = self._keys.searchsorted(asked)
        found[found == len(self)] = 0
        found[self._keys[found] != asked] = -1
        ids: list[int] = found.tolist()
        return ids


class _HashTable:
    """Place of a key in a list of distinct keys: open addressing, linear probing.

    Of keys that are not distinct one place is found, the same one always.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = keys
        bits = (_SPREAD * max(1, len(keys)) - 1).bit_length()
        self._shift = np.uint64(_KEY_BITS - bits)
        self._last = np.int64((1 << bits) - 1)
        self._slots = np.full(1 << bits, -1, dtype=np.int32)
        left = np.arange(len(keys), dtype=np.int32)
        slots = self._home(keys)
        while len(left):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = left[free]
            lost = self._slots[slots] != left
            left, slots = left[lost], (slots[lost] + 1) & self._last

    def places(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """Place of each key, -1 where it is unknown."""
        if not len(self._keys):
            return np.full(len(keys), -1, dtype=np.int32)
        slots = self._home(keys)
        found = self._slots.take(slots)
        left = self._others(found, keys)
        slots, keys = slots[left], keys[left]
        while len(left):
            slots = (slots + 1) & self._last
            now = self._slots.take(slots)
            found[left] = now
            on = self._others(now, keys)
            left, slots, keys = left[on], slots[on], keys[on]
        return found

    def _home(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        return ((keys * _GOLDEN) >> self._shift).view(np.int64)

    def _others(self, found: NDArray[np.int32], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where a slot holds another key; an empty one (-1) holds none."""
        other: NDArray[np.bool_] = (self._keys.take(found, mode="wrap") != keys) & (found >= 0)
        return other.nonzero()[0]


def _joined(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.uint64]:
    return (first.astype(np.uint64) << np.uint64(32)) | second.astype(np.uint64)
