"""The loops between tokens and a label, compiled: counts, weights, scores, reasons; each row by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from classifier.compiled import Float64s, Floats, Int32s, Int64s, Matrix, Table, Vector, Weights, compiled, prefetch

__all__ = ["add_product", "count", "rank_reasons", "scale", "weigh"]

_KEY_BITS = 64
_FREE = -1
_SMALLEST = 12
"""Bits that number the slots of a row's table, to begin with."""
_AHEAD = 12
"""Entries between the one that is added and the one whose weights are asked for."""
_LINE = 16
"""Weights that memory brings at once."""


@compiled
def count(ids: Int32s, starts: Int64s, factor: np.uint64) -> tuple[Int32s, Int32s, Int64s]:
    """Distinct ids of each row, as they first come, those below 0 passed over; how often each occurs; where rows begin.

    Each row has a small hash table of its own, which stays in the processor's nearest memory. `factor`, an odd number
    that nobody knows, decides which ids share a slot.
    """
    found = np.empty(len(ids), np.int32)
    times = np.empty(len(ids), np.int32)
    begins = np.zeros(len(starts), np.int64)
    slots = np.empty(1 << _SMALLEST, np.int32)
    kept = np.int64(0)
    for row in range(len(starts) - 1):
        first = kept
        bits = 1
        while (1 << bits) < 2 * (starts[row + 1] - starts[row]):
            bits += 1
        if (1 << bits) > len(slots):
            slots = np.empty(1 << bits, np.int32)
        slots[: 1 << bits] = _FREE
        last = (1 << bits) - 1
        shift = np.uint64(_KEY_BITS - bits)
        for at in range(starts[row], starts[row + 1]):
            token = ids[at]
            if token < 0:
                continue
            slot = np.int64((np.uint64(token) * factor) >> shift)
            while slots[slot] != _FREE and found[first + slots[slot]] != token:
                slot = (slot + 1) & last
            if slots[slot] == _FREE:
                slots[slot] = kept - first
                found[kept] = token
                times[kept] = 1
                kept += 1
            else:
                times[first + slots[slot]] += 1
        begins[row + 1] = kept
    return found[:kept].copy(), times[:kept].copy(), begins


@compiled
def weigh(
    ids: Int32s, starts: Int64s, factor: np.uint64, idf: Vector, sublinear: bool, once: bool, squares: Float64s
) -> tuple[Int32s, Floats, Int64s]:
    """What `count` finds, as values: how often, or 1 + ln of it, times the token's weight.

    Args:
        ids: the tokens, those below 0 to be passed over.
        starts: where each row begins.
        factor: as for `count`.
        idf: weight of each token; a single one is that of all.
        sublinear: whether n counts 1 + ln n.
        once: whether any n counts 1.
        squares: sum of each row's squares so far; these are added, in place.

    Returns:
        Distinct ids of each row, their values, and where rows begin.
    """
    found, times, begins = count(ids, starts, factor)
    values = np.empty(len(found), idf.dtype)
    last = len(idf) - 1
    for row in range(len(begins) - 1):
        total = 0.0
        for at in range(begins[row], begins[row + 1]):
            often = 1.0 if once else np.float64(times[at])
            if sublinear and often > 1:
                often = 1.0 + np.log(often)
            value = np.float32(often) * idf[min(found[at], last)]
            values[at] = value
            total += np.float64(value) * np.float64(value)
        squares[row] += total
    return found, values, begins


@compiled
def scale(values: Floats, starts: Int64s, squares: Float64s, length: float) -> None:
    """Scale each row to a Euclidean length, in place; `squares` are the sums of squares, 0 for rows without entries."""
    for row in range(len(starts) - 1):
        if squares[row] > 0:
            factor = np.float32(length / np.sqrt(squares[row]))
            for at in range(starts[row], starts[row + 1]):
                values[at] *= factor


def _add_product(rows: Int64s, starts: Int64s, ids: Int32s, values: Floats, weights: Weights, scores: Matrix) -> None:
    """Add rows × weights to scores, in place: entry by entry, in their order. `rows`: which rows; none for all."""
    labels = weights.shape[1]
    last = len(ids) - _AHEAD - 4
    for number in range(len(scores)):
        row = rows[number] if len(rows) else number
        at = starts[row]
        # Four at a time: a score is loaded and stored a quarter as often, and adds up in the same order.
        while at + 3 < starts[row + 1]:
            if at <= last:
                for soon in range(at + _AHEAD, at + _AHEAD + 4):
                    for label in range(0, labels, _LINE):
                        prefetch(weights, np.int64(ids[soon]) * labels + label)
            a, b, c, d = ids[at], ids[at + 1], ids[at + 2], ids[at + 3]
            of_a, of_b, of_c, of_d = values[at], values[at + 1], values[at + 2], values[at + 3]
            for label in range(labels):
                total = scores[number, label] + of_a * weights[a, label]
                total = (total + of_b * weights[b, label]) + of_c * weights[c, label]
                scores[number, label] = total + of_d * weights[d, label]
            at += 4
        while at < starts[row + 1]:
            a, of_a = ids[at], values[at]
            for label in range(labels):
                scores[number, label] += of_a * weights[a, label]
            at += 1


def _rank_reasons(
    starts: Int64s,
    ids: Int32s,
    values: Floats,
    weights: Weights,
    label: Int64s,
    runner_up: Int64s,
    number: int,
    best: Matrix,
    tokens: Table,
    parts: Table,
) -> None:
    """Put a part's tokens among the strongest that each row has so far, in place.

    Args:
        starts: where each row begins.
        ids: tokens of the rows.
        values: value of each token.
        weights: tokens × labels.
        label: each row's label.
        runner_up: each row's second best label.
        number: of the part.
        best: weights of the strongest tokens, strongest first, 0 where there are fewer (rows × most).
        tokens: their ids.
        parts: the parts that they are of.
    """
    most = best.shape[1]
    labels = weights.shape[1]
    for row in range(len(label)):
        if row + 1 < len(label):
            for soon in range(starts[row + 1], starts[row + 2]):
                prefetch(weights, np.int64(ids[soon]) * labels + label[row + 1])
                prefetch(weights, np.int64(ids[soon]) * labels + runner_up[row + 1])
        own = label[row]
        other = runner_up[row]
        for at in range(starts[row], starts[row + 1]):
            token = ids[at]
            weight = values[at] * (weights[token, own] - weights[token, other])
            if weight > best[row, most - 1]:
                place = most - 1
                while place > 0 and weight > best[row, place - 1]:
                    best[row, place] = best[row, place - 1]
                    tokens[row, place] = tokens[row, place - 1]
                    parts[row, place] = parts[row, place - 1]
                    place -= 1
                best[row, place] = weight
                tokens[row, place] = token
                parts[row, place] = number


def _for_both(function: Callable[..., Any]) -> dict[np.dtype[Any], Callable[..., Any]]:
    return {np.dtype(floats): compiled(function, floats) for floats in ("float32", "float64")}


# For each type of weights.
add_product = _for_both(_add_product)
rank_reasons = _for_both(_rank_reasons)
