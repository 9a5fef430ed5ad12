"""Why a label: the tokens that speak most for it and against the runner-up, for many products at once."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from classifier import sums
from classifier.parts import Array, Part

__all__ = ["REASONS", "no_reasons", "strongest", "strongest_few"]

REASONS = pl.List(pl.Struct({"token": pl.String, "field": pl.String, "weight": pl.Float64}))


class _Strongest(NamedTuple):
    """The strongest tokens of each product, strongest first (products × most, each).

    Attributes:
        weights: what each adds to the label's score beyond the runner-up's; 0 where there are fewer tokens.
        tokens: their ids.
        parts: the parts that they are of.
    """

    weights: Array
    tokens: NDArray[np.int32]
    parts: NDArray[np.int32]


def strongest(parts: list[Part], label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int = 5) -> pl.Series:
    """The `most` strongest tokens of each product, strongest first.

    A token's weight is what it adds to the label's score minus what it adds to the runner-up's; all tokens and both
    intercepts sum to the margin. Only tokens that speak for the label are reasons.
    """
    found = _strongest(parts, label, runner_up, most)
    speaking = found.weights > 0
    if not speaking.any():
        return no_reasons(len(label))
    number, tokens = found.parts[speaking], found.tokens[speaking]
    by_part = number.argsort(kind="stable")
    ends = number[by_part].searchsorted(np.arange(len(parts) + 1))
    own = [tokens[by_part[first:last]] for first, last in pairwise(ends)]
    names = [part.names.many(ids) for part, ids in zip(parts, own, strict=True) if len(ids)]
    place = np.empty_like(by_part)
    place[by_part] = np.arange(len(by_part))
    reasons = {
        "token": pl.concat(names).gather(place),
        "field": pl.Series([part.field for part in parts]).gather(number),
        "weight": found.weights[speaking].astype(np.float64),
    }
    return _lists(pl.DataFrame(reasons).to_struct("reasons"), speaking.sum(axis=1))


def strongest_few(
    parts: list[Part], label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int = 5
) -> list[list[dict[str, str | float]]]:
    """What `strongest` gives, for a few products: as plain lists, and without its cost of starting."""
    found = _strongest(parts, label, runner_up, most)
    speaking = found.weights > 0
    numbers, tokens, weights = (values[speaking].tolist() for values in (found.parts, found.tokens, found.weights))
    of_part: list[list[int]] = [[] for _ in parts]
    for number, token in zip(numbers, tokens, strict=True):
        of_part[number].append(token)
    names = [iter(part.names.few(ids) if ids else ()) for part, ids in zip(parts, of_part, strict=True)]
    reasons = [
        {"token": next(names[number]), "field": parts[number].field, "weight": weight}
        for number, weight in zip(numbers, weights, strict=True)
    ]
    ends = speaking.sum(axis=1).cumsum().tolist()
    return [reasons[start:end] for start, end in pairwise([0, *ends])]


def no_reasons(rows: int) -> pl.Series:
    """As many empty lists."""
    return pl.Series("reasons", [[]], dtype=REASONS).new_from_index(0, rows)


def _strongest(parts: list[Part], label: NDArray[np.int64], runner_up: NDArray[np.int64], most: int) -> _Strongest:
    shape = len(label), most
    kind = parts[0].weights.dtype if parts else np.dtype(np.float32)
    found = _Strongest(np.zeros(shape, kind), np.zeros(shape, np.int32), np.zeros(shape, np.int32))
    label, runner_up = np.ascontiguousarray(label), np.ascontiguousarray(runner_up)
    for number, part in enumerate(parts):
        rows = part.rows
        entries = rows.starts, rows.ids, rows.values, part.weights
        sums.rank_reasons[kind](*entries, label, runner_up, number, *found)
    return found


def _lists(values: pl.Series, counts: NDArray[np.int64]) -> pl.Series:
    """Consecutive values as lists of the given lengths, empty ones included."""
    rows = pl.Series("row", np.repeat(np.arange(len(counts)), counts))
    lists = pl.DataFrame([rows, values]).group_by("row", maintain_order=True).agg(pl.col(values.name))[values.name]
    if len(lists) == len(counts):
        return lists
    # The empty list stands last, and is what every row without an entry gets.
    place = np.where(counts > 0, np.cumsum(counts > 0) - 1, len(lists))
    return pl.concat([lists, no_reasons(1)]).gather(place)
