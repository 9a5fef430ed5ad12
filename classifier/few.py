"""A few products at once, without the price of starting dozens of array operations for each of their fields.

What is counted is counted in plain Python, what is calculated is calculated for all fields together. The numbers are
those of the way in bulk to the bit: the same float32 operations in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from classifier.lookup import PairLookup
from classifier.parts import Array, Names, Part, Rows

__all__ = ["Counted", "Counts", "count", "count_grams", "parts_of"]

_LEAST = np.float32(1e-30)


@dataclass(frozen=True)
class Counts:
    """How often each token occurs in each of a few rows.

    Attributes:
        ids: tokens of each row, one row after the other, sorted within a row, each once.
        times: how often each of them occurs.
        lengths: tokens of each row.
    """

    ids: list[int]
    times: list[int]
    lengths: list[int]


@dataclass(frozen=True)
class Counted:
    """One block of tokens of a field, counted in a few products.

    Attributes:
        counts: the tokens.
        width: number of tokens that there are.
        idf: weight of each token before the field is scaled; one number for all, or an array.
        weights: tokens × labels.
        names: what the tokens are called.
    """

    counts: Counts
    width: int
    idf: Array | np.floating
    weights: Array
    names: Names


def count(rows: Sequence[Sequence[int]]) -> Counts:
    """Count the ids of each row; those of -1 do not count."""
    counted = [Counter(row) for row in rows]
    for counter in counted:
        counter.pop(-1, None)
    ids = [sorted(counter) for counter in counted]
    return _counts(ids, ids, counted)


def _counts(ids: list[list[int]], keys: list[list[int]], counted: Sequence[Counter[int]]) -> Counts:
    """Counts of ids that stand under other keys in what was counted."""
    times = [counter[key] for counter, own in zip(counted, keys, strict=True) for key in own]
    return Counts(list(chain.from_iterable(ids)), times, [len(own) for own in ids])


def count_grams(rows: Sequence[Sequence[int]], lookups: Sequence[PairLookup]) -> list[Counts]:
    """Count n-grams for n = 2, 3, …: pairs of the id of the first n-1 words and the id of the last.

    Args:
        rows: ids of each row's words in order, -1 where a word is not known.
        lookups: pair to id, for each n.
    """
    found, current = [], rows
    for reach, lookup in enumerate(lookups, start=1):
        pairs = [
            [
                (first << 32) | last if first >= 0 and last >= 0 else -1
                for first, last in zip(own, row[reach:], strict=False)
            ]
            for own, row in zip(current, rows, strict=True)
        ]
        counted = [Counter(own) for own in pairs]
        distinct = sorted(set().union(*counted))  # near ones are found near each other
        place = dict(zip(distinct, lookup.places(distinct), strict=True))
        keys = [[key for key in sorted(counter) if place[key] >= 0] for counter in counted]
        found.append(_counts([[place[key] for key in own] for own in keys], keys, counted))  # sorted as their keys are
        if reach < len(lookups):
            current = [[place[key] for key in own] for own in pairs]
    return found


def parts_of(fields: Sequence[tuple[str, float, Sequence[Counted]]], rows: int, *, sublinear: bool) -> list[Part]:
    """Blocks of counts as what scores and explains: weighted, and each field of each product scaled to its length.

    Args:
        fields: name, Euclidean length, and blocks of each field that has any.
        rows: products.
        sublinear: whether a count n weighs 1 + ln n.
    """
    blocks = [block for _, _, own in fields for block in own]
    if not blocks:
        return []
    ids = np.array(list(chain.from_iterable(block.counts.ids for block in blocks)), dtype=np.int32)
    values = np.array(list(chain.from_iterable(block.counts.times for block in blocks)), dtype=np.float32)
    lengths = np.array([block.counts.lengths for block in blocks])
    starts = np.zeros((len(blocks), rows + 1), dtype=np.int32)
    lengths.cumsum(axis=1, out=starts[:, 1:])
    ends = starts[:, -1].cumsum().tolist()
    places = [slice(first, last) for first, last in zip([0, *ends], ends, strict=False)]
    if sublinear:
        np.log(values, out=values)
        values += 1
    for block, place in zip(blocks, places, strict=True):
        values[place] *= block.idf[ids[place]] if isinstance(block.idf, np.ndarray) else block.idf
    _scale(values, lengths, fields)
    parts = []
    named = (name for name, _, own in fields for _ in own)
    for name, block, place, own in zip(named, blocks, places, starts, strict=True):
        parts.append(Part(name, Rows(own, ids[place], values[place], block.width), block.weights, block.names))
    return parts


def _scale(values: Array, lengths: NDArray[np.int64], fields: Sequence[tuple[str, float, Sequence[Counted]]]) -> None:
    """Scale each field of each row to its Euclidean length, in place; `lengths` is blocks × rows."""
    entries = lengths.ravel()
    filled = entries.nonzero()[0]
    if not len(filled):
        return
    sums = np.zeros(len(entries), dtype=np.float32)
    sums[filled] = np.add.reduceat(values * values, (entries.cumsum() - entries)[filled])
    blocks_of = [len(own) for _, _, own in fields]
    squares = np.zeros((len(fields), lengths.shape[1]), dtype=np.float32)
    fields_of = [number for number, blocks in enumerate(blocks_of) for _ in range(blocks)]
    for number, own in zip(fields_of, sums.reshape(lengths.shape), strict=True):
        squares[number] += own  # one after the other, as in bulk: reduceat would add the later ones to each other first
    wanted = np.array([weight for _, weight, _ in fields], dtype=np.float32)
    # Where nothing is squared there is nothing to scale either.
    scale = wanted[:, None] / np.sqrt(np.maximum(squares, _LEAST))
    values *= scale.repeat(blocks_of, axis=0).ravel().repeat(entries)
