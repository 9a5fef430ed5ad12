"""From strings and pairs of integers to ids, millions at a time, without Python loops and free of the interpreter lock.

In bulk both look-ups stand on the one routine of SciPy that samples a sparse matrix at given places: 25 to 45 ns each
(a Polars join or Enum cast builds its table again on every call: 90 ms for 300,000 words). It scans its table once a
call, so a few look-ups go by binary search instead. Both find the same.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse import _sparsetools

__all__ = ["PairLookup", "StringLookup"]

_COLUMN_BITS = 31  # what an int32 column index can hold
# Below so many look-ups binary search wins: it costs about 1 µs each, sampling 1 ms a call on a million entries.
_FEW = 2_000


class StringLookup:
    """Position of a string in a list of distinct strings.

    Polars' hash finds the place, and the full 64 bits are compared: a string that is not in the list is taken for one
    that is with a probability of its length / 2**64. The hash is never stored, so a Polars upgrade cannot move
    anything.
    """

    def __init__(self, strings: pl.Series) -> None:
        self.strings = strings
        self._hashes: NDArray[np.uint64] = strings.hash().to_numpy()
        self._shift = np.uint64(64 - max(1, len(strings).bit_length()))
        rows, columns = self._place(self._hashes)
        shape = (1 << max(1, len(strings).bit_length()), (1 << _COLUMN_BITS) - 1)
        positions = np.arange(1, len(strings) + 1, dtype=np.int32)
        self._table = sp.csr_matrix((positions, (rows, columns)), shape=shape)
        # Two of the strings in one place, about once in a thousand lists of three million: then by search alone.
        self._crowded = self._table.nnz < len(strings)
        self._order = np.argsort(self._hashes).astype(np.int32)
        self._sorted_hashes = self._hashes[self._order]

    def __len__(self) -> int:
        return len(self.strings)

    def ids(self, strings: pl.Series) -> NDArray[np.int32]:
        """Position of each string, -1 where it is unknown."""
        if len(self) == 0 or len(strings) == 0:
            return np.full(len(strings), -1, dtype=np.int32)
        hashes: NDArray[np.uint64] = strings.hash().to_numpy()
        if len(hashes) < _FEW or self._crowded:
            found = self._order[np.minimum(np.searchsorted(self._sorted_hashes, hashes), len(self) - 1)]
        else:
            found = _sample(self._table, *self._place(hashes))
            found -= 1
        found[self._hashes[found] != hashes] = -1  # id -1 reads the last hash: equal only for an id that was found
        return found

    def _place(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        rows = (hashes >> self._shift).astype(np.int32)
        columns = (hashes & np.uint64((1 << _COLUMN_BITS) - 1)) % np.uint64((1 << _COLUMN_BITS) - 1)
        return rows, columns.astype(np.int32)


class PairLookup:
    """Id of a pair (first, second) of non-negative integers.

    Args:
        first: first of each pair, sorted together with `second`.
        second: second of each pair.
        rows: an upper bound of `first`, exclusive.
        columns: an upper bound of `second`, exclusive.
    """

    def __init__(self, first: NDArray[np.int32], second: NDArray[np.int32], rows: int, columns: int) -> None:
        self.first, self.second = first, second
        starts = np.searchsorted(first, np.arange(rows + 1)).astype(np.int32)
        ids = np.arange(1, len(first) + 1, dtype=np.int32)
        self._table = sp.csr_matrix((ids, second, starts), shape=(rows, columns))
        self._keys = (first.astype(np.int64) << 32) | second

    def __len__(self) -> int:
        return len(self.first)

    def ids(self, first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.int32]:
        """Id of each pair, -1 where it is unknown. No value may be negative."""
        if len(self) == 0 or len(first) == 0:
            return np.full(len(first), -1, dtype=np.int32)
        if len(first) < _FEW:
            return self._searched((first.astype(np.int64) << 32) | second).astype(np.int32)
        found = _sample(self._table, first, second)
        found -= 1
        return found

    def places(self, keys: list[int]) -> list[int]:
        """Id of each of a few pairs, given as first << 32 | second; -1 where it is unknown or below 0."""
        if not len(self):
            return [-1] * len(keys)
        ids: list[int] = self._searched(np.array(keys, dtype=np.int64)).tolist()
        return ids

    def _searched(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        found = self._keys.searchsorted(keys)
        found[found == len(self)] = 0
        found[self._keys[found] != keys] = -1
        return found


def _sample(table: sp.csr_matrix, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int32]:
    # SciPy's own indexing goes through the same routine, but checks and copies around it.
    out = np.zeros(len(rows), dtype=np.int32)
    _sparsetools.csr_sample_values(*table.shape, table.indptr, table.indices, table.data, len(rows), rows, columns, out)
    return out
