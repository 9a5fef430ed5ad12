"""Why a label: the tokens that speak most for it and against the runner-up, for many products at once."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier.parts import Array, Part, per_entry

__all__ = ["REASONS", "contributions", "no_reasons", "strongest", "strongest_few"]

REASONS = pl.List(pl.Struct({"token": pl.String, "field": pl.String, "weight": pl.Float64}))


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
    values = contributions(part, label, runner_up)
    kept = values > 0
    ends = np.concatenate([[0], np.cumsum(kept)])[part.rows.starts]
    values, tokens = values[kept], part.rows.ids[kept]
    weights = np.zeros((len(label), most), dtype=values.dtype)
    ids = np.zeros((len(label), most), dtype=np.int32)
    filled = np.flatnonzero(np.diff(ends))
    starts, counts = ends[filled], np.diff(ends)[filled]
    for place in range(most):
        if not len(filled):
            break
        highest = np.maximum.reduceat(values, starts)
        hits = np.flatnonzero(values == np.repeat(highest, counts))
        owner = np.searchsorted(starts, hits, side="right") - 1
        first = np.concatenate([[True], owner[1:] != owner[:-1]])  # equal weights: the first token goes first
        hits = hits[first]
        real = highest > 0
        weights[filled[real], place] = highest[real]
        ids[filled[real], place] = tokens[hits[real]]
        values[hits] = 0  # taken: everything kept is above zero
    return weights, ids


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
