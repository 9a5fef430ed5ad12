"""Drift that is put into products on purpose, at a stated strength, to see whether it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from reports.measures import KNOWN, LABEL

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec

__all__ = ["Injection", "injections"]

SHARE = 0.3
"""Of the products (or of the words of each) that an injection changes, where it does not change all."""

# A language of our own making, so that it is another one in every catalogue: words that hold no known one.
_SYLLABLES = ("ka", "lo", "mi", "tu", "re", "so", "vu", "ni", "pe", "zo")
_FOREIGN_WORDS = 400
_NEW_VALUE = "never seen before"


@dataclass(frozen=True)
class Injection:
    """One kind of drift.

    Attributes:
        name: what is done.
        strength: how much of it.
        of_arrivals: whether arrivals can tell it; ordinary ones do bring one label or one brand only.
        answers: whether the model has to answer again.
        inject: makes the current products of the drifted world from as many products of the unchanged one.
    """

    name: str
    strength: str
    of_arrivals: bool
    answers: bool
    inject: Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


def injections(spec: CatalogSpec, pool: pl.DataFrame) -> Iterator[Injection]:
    """Every kind that the catalogue's fields and labels allow.

    Args:
        spec: the catalogue.
        pool: products of the unchanged world; fields that most of them lack are not taken away.
    """
    filled = [name for name in spec.field_names if name in pool.columns and pool[name].null_count() < pool.height / 2]
    for name in filled:
        yield Injection(f"{name} goes empty", "all rows", True, True, partial(_emptied, name=name))
    for one in spec.fields:
        if one.kind == "keyword" and one.name in filled:
            yield Injection(
                f"unseen {one.name}",
                f"{SHARE:.0%} of rows",
                False,
                True,
                partial(_replaced, name=one.name),
            )
    texts = [name for name in spec.text_fields if name in filled]
    if texts:
        many = f"{SHARE:.0%} of rows"
        yield Injection("another language", many, True, True, partial(_translated, texts=texts, whole=True))
        yield Injection(
            "vocabulary shift",
            f"{SHARE:.0%} of words",
            True,
            True,
            partial(_translated, texts=texts, whole=False),
        )
    labels = pool.filter(pl.col(KNOWN).is_not_null())[KNOWN].list.first().value_counts(sort=True, name="rows")
    if labels.height > 1:
        first, second = labels.to_series(0).head(2).to_list()
        yield Injection(
            "two labels swapped",
            f"all of {first} and {second}",
            False,
            False,
            partial(_swapped, first=first, second=second),
        )
    commonest = pool[LABEL].drop_nulls().value_counts(sort=True, name="rows")
    if commonest.height > 1:
        kept = commonest.to_series(0)[0]
        yield Injection(
            "label mix shift",
            f"{SHARE:.0%} more {kept}",
            False,
            False,
            partial(_mixed, pool=pool, label=kept),
        )


def _emptied(frame: pl.DataFrame, _rng: np.random.Generator, *, name: str) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, dtype=frame.schema[name]).alias(name))


def _some(frame: pl.DataFrame, rng: np.random.Generator) -> pl.Series:
    return pl.Series("chosen", rng.random(frame.height) < SHARE)


def _replaced(frame: pl.DataFrame, rng: np.random.Generator, *, name: str) -> pl.DataFrame:
    chosen = pl.when(_some(frame, rng)).then(pl.lit(_NEW_VALUE)).otherwise(name)
    return frame.with_columns(chosen.alias(name))


def _translated(frame: pl.DataFrame, rng: np.random.Generator, *, texts: list[str], whole: bool) -> pl.DataFrame:
    """Words become others, of `SHARE` of the texts all of them, or `SHARE` of the words of all texts."""
    foreign = np.array(["".join(rng.choice(_SYLLABLES, 4)) for _ in range(_FOREIGN_WORDS)])
    changed = []
    for name in texts:
        rows = frame.select(pl.col(name).str.split(" ").alias("word")).with_row_index("row").explode("word")
        of_rows = rng.random(frame.height)[rows["row"].to_numpy()] if whole else rng.random(rows.height)
        other = pl.Series(rng.choice(foreign, rows.height))
        words = rows.with_columns(
            pl.when(pl.Series(of_rows < SHARE) & pl.col("word").is_not_null())
            .then(other)
            .otherwise("word")
            .alias("word")
        )
        joined = words.group_by("row", maintain_order=True).agg(
            pl.col("word").str.join(" ").alias(name), pl.col("word").count().alias("words")
        )
        changed.append(joined.select(pl.when(pl.col("words") > 0).then(name).alias(name)).to_series())
    return frame.with_columns(changed)


def _swapped(frame: pl.DataFrame, _rng: np.random.Generator, *, first: str, second: str) -> pl.DataFrame:
    """The source calls one label by the other's name: what is known changes, the products do not."""
    outermost = pl.col(KNOWN).list.first().replace({first: second, second: first})
    swapped = pl.concat_list(outermost, pl.col(KNOWN).list.slice(1))
    return frame.with_columns(pl.when(pl.col(KNOWN).is_not_null()).then(swapped).alias(KNOWN))


def _mixed(frame: pl.DataFrame, rng: np.random.Generator, *, pool: pl.DataFrame, label: str) -> pl.DataFrame:
    """So many of the products make way for others of one label."""
    others = pool.filter(pl.col(LABEL) == label)
    chosen = _some(frame, rng)
    more = others.sample(int(chosen.sum()), with_replacement=True, seed=int(rng.integers(2**31)))
    return pl.concat([frame.filter(~chosen), more.select(frame.columns)])
