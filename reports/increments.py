"""Ordinary increments of a catalogue, made up from its recent arrivals: what a night brings when nothing has changed.

An increment is no sample of the catalogue. It may be the range of a brand that is new, or one category's refresh, and
then every mix in it differs from everything before. A detector that deals rows out at random would raise an alarm each
time. So increments are drawn from the reference as they really come, and a threshold is what such increments reach.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reports.distances import Floats

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Increments", "draw", "groups", "range_fields", "thresholds"]

Places: TypeAlias = NDArray[np.int64]
"""Row numbers."""

Counted: TypeAlias = "tuple[sp.csr_array, Callable[[Floats, Floats], Floats]]"
"""What rows hold (rows × categories), and the score of two sides (increments × categories): reference, current."""

# Increments counted at once: each takes a float for every category, of which there may be tens of thousands.
_AT_ONCE = 64
# A field of fewer values has no ranges: what is new would be a good part of the world, and no two parts are alike.
_LEAST_VALUES = 20
# A range of fewer products is joined by others: of a handful, every mix is unlike everything.
_LEAST_ROWS = 100

# Of the false alarms that may be, this part is aimed at. What came in is missing from the reference (a whole range,
# half of a label), so increments that are drawn from the rest are a little tamer than it was itself.
_AIMED_AT = 0.5

DRAWN = 160
"""Increments of each kind: half of them say what one in forty reaches of each measure, half of all together."""


@dataclass(frozen=True)
class Increments:
    """Increments of the reference's rows, and for each the rows that it is compared with.

    Attributes:
        kinds: of each increment: at random, a new range of a field, a refresh of a label.
        current: increments × rows, 1 where a row is in it.
        left_out: increments × rows, 1 where a row is not compared with: it is in the increment, or of its range.
    """

    kinds: list[str]
    current: sp.csr_array
    left_out: sp.csr_array

    @property
    def number(self) -> int:
        """How many."""
        return len(self.kinds)

    def scores(self, counted: Sequence[Counted]) -> Floats:
        """The score of each increment by each measure, (measures × increments).

        Args:
            counted: of each measure, what the reference's rows hold, and how two sides of it are scored.
        """
        import scipy.sparse as sp

        rows = sp.hstack([own for own, _ in counted], format="csr", dtype=np.float32)
        ends = np.cumsum([0, *(own.shape[1] for own, _ in counted)])
        total = np.asarray(rows.sum(axis=0), dtype=np.float64).reshape(1, -1)
        found: list[Floats] = []
        for start in range(0, self.number, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            left_out, current = (
                (side[part] @ rows).toarray().astype(np.float64) for side in (self.left_out, self.current)
            )
            sides = (total - left_out, current)
            columns = itertools.starmap(slice, itertools.pairwise(ends))
            found.append(
                np.array(
                    [
                        score(sides[0][:, own], sides[1][:, own])
                        for own, (_, score) in zip(columns, counted, strict=True)
                    ]
                )
            )
        return np.concatenate(found, axis=1)


def range_fields(fields: Iterable[str], pool: pl.DataFrame) -> list[str]:
    """Those of the fields that products come in ranges of, such as brands: columns with many values."""
    return [name for name in fields if name in pool.columns and pool[name].drop_nulls().n_unique() >= _LEAST_VALUES]


def draw(pool: pl.DataFrame, ranges: Sequence[str], refreshed: str | None, rows: int, seed: int) -> Increments:
    """Draw increments from a catalogue's recent arrivals.

    Args:
        pool: recent arrivals, in which nothing is amiss.
        ranges: columns whose values come in new: all products of a brand are taken out of the rest.
        refreshed: column whose values come again: products of a category, while others of it stay in the rest.
        rows: of the increment that is to be judged; at most half of the pool is drawn.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    size = max(1, min(rows, pool.height // 2))
    kinds, taken, left_out = [], [], []
    for kind, drawn, out in _every(pool, ranges, refreshed, size, rng):
        kinds.append(kind)
        taken.append(drawn)
        left_out.append(out)
    return Increments(kinds, _ones(taken, pool.height), _ones(left_out, pool.height))


def _ones(chosen: list[Places], width: int) -> sp.csr_array:
    import scipy.sparse as sp

    starts = np.cumsum([0, *(len(one) for one in chosen)])
    places = np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
    return sp.csr_array((np.ones(len(places), dtype=np.float32), places, starts), shape=(len(chosen), width))


def _every(
    pool: pl.DataFrame, ranges: Sequence[str], refreshed: str | None, size: int, rng: np.random.Generator
) -> Iterator[tuple[str, Places, Places]]:
    """Kind, drawn rows, and rows that they are not compared with."""
    for _ in range(DRAWN):
        drawn = rng.choice(pool.height, size, replace=False)
        yield "at random", drawn, drawn
    for name in ranges:
        for own in groups(pool[name], rng):
            # A small range comes whole: to repeat its products would add nothing.
            yield f"new range ({name})", rng.choice(own, min(size, len(own)), replace=False), own
    if refreshed is not None:
        for own in groups(pool[refreshed], rng):
            drawn = rng.choice(own, min(size, max(1, len(own) // 2)), replace=False)
            yield f"refresh ({refreshed})", drawn, drawn


def groups(values: pl.Series, rng: np.random.Generator) -> Iterator[Places]:
    """Rows of one value, or of a few small ones, DRAWN times; none where one value is nearly all.

    Large values come first, more often than not; none comes again before all have come. A label whose refresh is to be
    judged has left half of its products in the reference: by their number it would be drawn too rarely.
    """
    rows = values.to_frame("value").with_row_index("row").drop_nulls("value")
    groups = [own.to_numpy() for own in rows.group_by("value", maintain_order=True).agg("row")["row"]]
    groups = [own for own in groups if len(own) <= len(values) - _LEAST_ROWS]
    if not groups:
        return
    sizes = np.array([len(own) for own in groups], dtype=np.float64)
    yield from itertools.islice(_joined(groups, sizes, rng), DRAWN)


def _joined(groups: list[Places], sizes: Floats, rng: np.random.Generator) -> Iterator[Places]:
    """All groups in one order after another, small ones joined with the next, without an end."""
    small = sizes.sum() < _LEAST_ROWS
    while True:
        taken: list[Places] = []
        for one in rng.choice(len(groups), len(groups), p=sizes / sizes.sum(), replace=False):
            taken.append(groups[one])
            if sum(map(len, taken)) >= _LEAST_ROWS:
                yield np.concatenate(taken)
                taken = []
        if small:
            yield np.concatenate(taken)


def thresholds(scores: Floats, least: Sequence[float], kinds: Sequence[str], false_alarms: float) -> list[float]:
    """From which score on a measure is drift, so that few increments of any kind raise an alarm anywhere.

    Each measure has a scale, beyond which lie half of `false_alarms` of each kind. The measures are then taken
    together: an increment is as odd as its oddest measure, and a common factor on all scales leaves as few beyond.

    Args:
        scores: measures × increments; NaN where there is nothing to compare.
        least: of each measure, the threshold that the catalogue asks for.
        kinds: of each increment.
        false_alarms: share of ordinary increments that may raise an alarm.
    """
    found, share = np.nan_to_num(scores, nan=0.0), false_alarms * _AIMED_AT
    of_kind = [np.flatnonzero(np.array(kinds) == kind) for kind in dict.fromkeys(kinds)]
    # The factor comes from increments that had no part in the scales: as the next one has none.
    scaled = [own[0::2] for own in of_kind]
    judged = [own[1::2] for own in of_kind if len(own) > 1]
    scale = np.array([max((_high(row[own], share) for own in scaled), default=0.0) for row in found])
    scale = np.maximum(scale, np.asarray(least))
    oddest = (found / scale[:, None]).max(axis=0, initial=0.0)
    factor = max([1.0, *(_high(oddest[own], share) for own in judged)])
    return [float(one) for one in scale * factor]


def _high(values: Floats, share: float) -> float:
    """What the next value of the same kind passes with at most this chance (conformal: counted with the next one)."""
    place = min(len(values), math.ceil((1 - share) * (len(values) + 1)))
    return float(np.sort(values)[place - 1])
