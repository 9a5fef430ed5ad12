"""Why a label: the tokens that speak most for it and against the runner-up, for many products at once."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier.parts import Array, Part, per_entry

__all__ = ["REASONS", "best_first", "contributions", "no_reasons", "strongest", "strongest_few"]

REASONS = pl.List(pl.Struct({"token": pl.String, "field": pl.String, "weight": pl.Float64}))

_KEY_BITS = 64
_VALUE_BITS = 31
"""Of a float32 above zero: all but its sign."""
_HIGHEST = np.uint32((1 << _VALUE_BITS) - 1)


def strongest(parts: list[Part], label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int = 5) -> pl.Series:
    """The `most` strongest tokens of each product, strongest first.

    A token's weight is what it adds to the label's score minus what it adds to the runner-up's; all tokens and both
    intercepts sum to the margin. Only tokens that speak for the label are reasons.
    """
    rows = len(label)
    named = [part for part in parts if len(part.rows.ids)]
    if not named:
        return no_reasons(rows)
    found = [_of_part(part, label, runner_up, most) for part in named]
    weights = np.concatenate([weight for weight, _ in found], axis=1)
    ids = np.concatenate([own for _, own in found], axis=1)
    order = np.argsort(-weights, axis=1, kind="stable")[:, :most]
    weights = np.take_along_axis(weights, order, axis=1)
    ids = np.take_along_axis(ids, order, axis=1)
    return _as_lists(named, order // most, ids, weights)


def no_reasons(rows: int) -> pl.Series:
    """As many empty lists."""
    return pl.Series("reasons", [[]], dtype=REASONS).new_from_index(0, rows)


def strongest_few(
    parts: list[Part], label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int = 5
) -> list[list[dict[str, str | float]]]:
    """What `strongest` gives, for a few products: as plain lists, and without its cost of starting."""
    if not parts:
        return [[] for _ in label]
    values = [contributions(part, label, runner_up) for part in parts]
    return [_of_row(parts, values, row, most) for row in range(len(label))]


def contributions(part: Part, label: NDArray[np.int64], runner_up: NDArray[np.int64]) -> Array:
    """What each entry of a part adds to the label's score beyond the runner-up's."""
    rows = part.rows
    if len(label) == 1:  # of one product: half as many operations, and the same numbers
        return np.asarray(rows.values * (part.weights[rows.ids, label[0]] - part.weights[rows.ids, runner_up[0]]))
    labels = part.weights.shape[1]
    base = rows.ids.astype(np.int64) * labels
    flat = part.weights.ravel()
    beyond = flat[base + per_entry(label, rows.starts)] - flat[base + per_entry(runner_up, rows.starts)]
    return np.asarray(rows.values * beyond)


def _of_row(parts: list[Part], values: list[Array], row: int, most: int) -> list[dict[str, str | float]]:
    places = [(int(part.rows.starts[row]), int(part.rows.starts[row + 1])) for part in parts]
    weights = np.concatenate([own[first:last] for own, (first, last) in zip(values, places, strict=True)])
    positive = (weights > 0).nonzero()[0]
    order = positive[(-weights[positive]).argsort(kind="stable")[:most]]
    ends = list(accumulate(last - first for first, last in places))
    reasons: list[dict[str, str | float]] = []
    for entry, weight in zip(order.tolist(), weights[order].tolist(), strict=True):
        number = bisect_right(ends, entry)
        part = parts[number]
        token = int(part.rows.ids[places[number][1] - (ends[number] - entry)])
        reasons.append({"token": part.names.few([token])[0], "field": part.field, "weight": weight})
    return reasons


def _of_part(
    part: Part, label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int
) -> tuple[Array, NDArray[np.int32]]:
    """Weights and token ids (products × most) of a part's strongest tokens; weight 0 where there are fewer."""
    rows, starts = len(label), part.rows.starts
    values = contributions(part, label, runner_up)
    speaking = (values > 0).nonzero()[0]
    values = values[speaking]
    order = best_first(values, np.repeat(np.arange(rows), np.diff(starts))[speaking], rows)
    ends = speaking.searchsorted(starts)
    taken = np.arange(most) < np.diff(ends)[:, None]
    best = order[(ends[:-1, None] + np.arange(most))[taken]]
    weights = np.zeros((rows, most), dtype=values.dtype)
    ids = np.zeros((rows, most), dtype=np.int32)
    weights[taken], ids[taken] = values[best], part.rows.ids[speaking[best]]
    return weights, ids


def best_first(values: Array, owner: NDArray[np.int64], owners: int) -> NDArray[np.int64]:
    """The order of values above zero: by owner, then the highest first, and equal ones as they come."""
    place_bits = len(values).bit_length()
    if values.dtype != np.float32 or owners.bit_length() + _VALUE_BITS + place_bits > _KEY_BITS:
        return np.lexsort((-values, owner))
    # All three as one integer: NumPy sorts those with the processor's vector units. The bits of a float above zero are
    # ordered as it is.
    keys = owner.astype(np.uint64) << np.uint64(_VALUE_BITS)
    keys |= _HIGHEST - values.view(np.uint32)
    keys <<= np.uint64(place_bits)
    keys |= np.arange(len(values), dtype=np.uint64)
    keys.sort()
    keys &= np.uint64((1 << place_bits) - 1)
    return keys.view(np.int64)


def _as_lists(parts: list[Part], owner: NDArray[np.int64], ids: NDArray[np.int32], weights: Array) -> pl.Series:
    rows, most = ids.shape
    owner, ids, flat = owner.ravel(), ids.ravel(), weights.ravel()
    slots = (flat > 0).nonzero()[0]
    if not len(slots):
        return no_reasons(rows)
    owner = owner[slots]
    by_part = owner.argsort(kind="stable")
    ends = np.searchsorted(owner[by_part], np.arange(len(parts) + 1))
    own = [ids[slots[by_part[first:last]]] for first, last in pairwise(ends)]
    names = [part.names.many(tokens) for part, tokens in zip(parts, own, strict=True) if len(tokens)]
    place = np.empty_like(by_part)
    place[by_part] = np.arange(len(by_part))
    reasons = {
        "token": pl.concat(names).gather(place),
        "field": pl.Series([part.field for part in parts]).gather(owner),
        "weight": flat[slots].astype(np.float64),
    }
    counts = np.bincount(slots // most, minlength=rows)
    return _lists(pl.DataFrame(reasons).to_struct("reasons"), counts)


def _lists(values: pl.Series, counts: NDArray[np.int64]) -> pl.Series:
    """Consecutive values as lists of the given lengths, empty ones included."""
    rows = pl.Series("row", np.repeat(np.arange(len(counts)), counts))
    lists = pl.DataFrame([rows, values]).group_by("row", maintain_order=True).agg(pl.col(values.name))[values.name]
    if len(lists) == len(counts):
        return lists
    # The empty list stands last, and is what every row without an entry gets.
    place = np.where(counts > 0, np.cumsum(counts > 0) - 1, len(lists))
    return pl.concat([lists, no_reasons(1)]).gather(place)
