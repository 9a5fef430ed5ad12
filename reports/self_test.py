"""The detectors held to account: how often they raise an alarm when nothing has changed, and find what has.

Both on the catalogue's own products. Where nothing has changed, products are drawn from one pool: at random, and as
real increments come. Where something has, drift of a stated strength is put into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from classifier.bootstrap import wilson
from reports import drift, increments
from reports.injected import Injection, injections
from reports.measures import LABEL

if TYPE_CHECKING:
    from catalogs.spec import CatalogSpec
    from reports.drift import Comparison
    from reports.measures import Knowledge

__all__ = ["FALSE_ALARMS", "POWER", "SIZES", "Trial", "Way", "World", "self_test", "ways"]

SIZES = (200, 2_000, 20_000)
"""Products in a batch."""

POWER = 0.95
FALSE_ALARMS = drift.FALSE_ALARMS
_POWER_SIZE = 2_000
_REFERENCE_ROWS: dict[Comparison, int] = {"catalogue": 20_000, "arrivals": 10_000}

Answer = Callable[[pl.DataFrame], pl.DataFrame]
Draw = Callable[[np.random.Generator], tuple[pl.DataFrame, pl.DataFrame]]


@dataclass(frozen=True)
class World:
    """What is tested on.

    Attributes:
        spec: the catalogue.
        pool: products with answers that the model had not learnt from.
        knowledge: of the model.
        answer: gives products label, label_path, confidence and decision of the model again.
        seed: of everything that is drawn.
    """

    spec: CatalogSpec
    pool: pl.DataFrame
    knowledge: Knowledge
    answer: Answer
    seed: int


@dataclass(frozen=True)
class Trial:
    """One way of drawing or changing products, tried many times.

    Attributes:
        comparison: catalogue or arrivals.
        drift: what was put in; None where nothing has changed.
        drawn: how, or at which strength.
        rows: products in a batch; fewer where the catalogue has fewer.
        trials: how often.
        alarms: how often some measure was beyond its threshold.
        share: of the trials; with its 95 % interval.
        met: whether drift was found as often as asked; whether false alarms are not shown to come more often.
        named: the measure that was so most often.
    """

    comparison: Comparison
    drift: str | None
    drawn: str
    rows: int
    trials: int
    alarms: int
    share: float
    interval: tuple[float, float]
    met: bool
    named: str | None

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


@dataclass(frozen=True)
class Way:
    """One way of drawing or changing products, to be tried.

    Attributes:
        comparison: catalogue or arrivals.
        drift: what is put in; None where nothing has changed.
        drawn: how, or at which strength.
        draw: gives reference and current.
        trials: how often.
    """

    comparison: Comparison
    drift: str | None
    drawn: str
    draw: Draw
    trials: int


def ways(world: World, trials: int, sizes: Sequence[int] = SIZES) -> list[Way]:
    """Every way that the catalogue's fields, labels and number of products allow.

    Args:
        world: what is tested on.
        trials: of each way in which nothing has changed; two fifths of them of each injected drift.
        sizes: products in a batch; what the catalogue cannot fill twice is drawn with repetition, up to ten times.
    """
    height = world.pool.height
    found = []
    for size in sizes:
        if not world.spec.drift.min_rows <= size <= 10 * height:
            continue
        found.append(Way("catalogue", None, "sample", partial(_sides, world, "catalogue", size), trials))
        if size <= height / 2:  # a range or a refresh is never larger than that: the size below says it
            found += [Way("arrivals", None, drawn, draw, trials) for drawn, draw in _increments(world, size)]
    size, few = min(_POWER_SIZE, max(height // 2, 1)), max(trials * 2 // 5, 1)
    for injection in injections(world.spec, world.pool):
        comparisons: list[Comparison] = ["catalogue", "arrivals"] if injection.of_arrivals else ["catalogue"]
        for comparison in comparisons:
            draw = partial(_injected, world, injection, comparison, size)
            found.append(Way(comparison, injection.name, injection.strength, draw, few))
    return found


def self_test(world: World, wanted: Sequence[Way], workers: int = 2) -> Iterator[Trial]:
    """Try every way; each result as soon as it is there.

    Args:
        world: what is tested on.
        wanted: from `ways`.
        workers: trials at once.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="self-test") as pool:
        for way in wanted:
            yield _tried(world, way, pool)


def _increments(world: World, size: int) -> Iterator[tuple[str, Draw]]:
    """How products come in when nothing has changed."""
    yield "at random", partial(_sides, world, "arrivals", size)
    keywords = increments.range_fields((one.name for one in world.spec.fields if one.kind == "keyword"), world.pool)
    for name, whole in [*((name, True) for name in keywords), (LABEL, False)]:
        if next(increments.groups(world.pool[name], np.random.default_rng(0)), None) is not None:
            kind = f"new range ({name})" if whole else f"refresh ({name})"
            yield kind, partial(_group, world, name, size, whole=whole)
            if whole:
                yield f"new range ({name}) after another", partial(_range_after_another, world, name, size)


def _sides(
    world: World, comparison: Comparison, size: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reference and current, at random; with repetition where the pool is too small for both."""
    pool = world.pool
    most = _REFERENCE_ROWS[comparison]
    if pool.height < 2 * size:
        return pool[rng.integers(0, pool.height, min(most, pool.height))], pool[rng.integers(0, pool.height, size)]
    order = rng.permutation(pool.height)
    return pool[order[size : size + most]], pool[order[:size]]


def _group(
    world: World, name: str, size: int, rng: np.random.Generator, *, whole: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All products of a value are new (`whole`), or some of them come again while the others stay."""
    pool = world.pool
    own = next(increments.groups(pool[name], rng))
    drawn = rng.choice(own, min(size, len(own) if whole else max(1, len(own) // 2)), replace=False)
    rest = np.setdiff1d(np.arange(pool.height), own if whole else drawn)
    return pool[rng.permutation(rest)[: _REFERENCE_ROWS["arrivals"]]], pool[drawn]


def _range_after_another(
    world: World, name: str, size: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All products of a value are new, as those of another were the night before: what came before is much of that."""
    pool = world.pool
    every = np.arange(pool.height)
    first = next(increments.groups(pool[name], rng))
    others = np.setdiff1d(every, first)
    own = next(increments.groups(pool[name][others], rng), None)
    if own is None:  # nearly all others are of one value
        return _group(world, name, size, rng, whole=True)
    second = others[own]
    rest = rng.permutation(np.setdiff1d(others, second))
    before = np.concatenate([first[: max(size, 1)], rest])[: _REFERENCE_ROWS["arrivals"]]
    return pool[before], pool[rng.choice(second, min(size, len(second)), replace=False)]


def _injected(
    world: World, injection: Injection, comparison: Comparison, size: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    reference, current = _sides(world, comparison, size, rng)
    changed = injection.inject(current, rng)
    return reference, world.answer(changed) if injection.answers else changed


def _tried(world: World, way: Way, pool: ThreadPoolExecutor) -> Trial:
    # Small ranges are judged as well: what is tested is the threshold, and not who is spared a verdict.
    judging = world.spec.drift.model_copy(update={"min_rows": 1})
    spec = world.spec.model_copy(update={"drift": judging})

    def one(number: int) -> tuple[int, list[str]]:
        reference, current = way.draw(np.random.default_rng([world.seed, number]))
        found = drift.compare(
            reference,
            current,
            spec,
            comparison=way.comparison,
            seed=world.seed + number,
            most_rows=_REFERENCE_ROWS[way.comparison],
            knowledge=world.knowledge,
            pictures=False,
        )
        return current.height, [drift.title(row) for row in found.scores.filter("drifted").iter_rows(named=True)]

    found = list(pool.map(one, range(way.trials)))
    alarms = sum(bool(named) for _, named in found)
    names = pl.Series([name for _, named in found for name in named], dtype=pl.String)
    share = alarms / way.trials
    interval = wilson(share, way.trials) or (0.0, 1.0)
    # A rate of false alarms just at its goal passes it in half of all tests: what is shown to be worse fails.
    met = share >= POWER if way.drift else interval[0] <= FALSE_ALARMS
    rows = round(float(np.median([rows for rows, _ in found])))
    common = None if names.is_empty() else str(names.value_counts(sort=True).to_series(0)[0])
    return Trial(way.comparison, way.drift, way.drawn, rows, way.trials, alarms, share, interval, met, common)
