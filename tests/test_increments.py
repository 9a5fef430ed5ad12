"""Arrivals are judged by what ordinary increments reach: a new range or a refresh is no drift, and drift is found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from catalogs.spec import CatalogSpec
from reports import drift
from reports.increments import DRAWN, draw, thresholds

BRANDS = 40
LABELS = {
    "Home": "lamp table chair oak round",
    "Garden": "spade hose seed green lawn",
    "Office": "desk paper clip pen ink",
}


def spec() -> CatalogSpec:
    fields = [
        {"name": "title", "kind": "text"},
        {"name": "brand", "kind": "keyword"},
        {"name": "price", "kind": "number"},
    ]
    return CatalogSpec.model_validate({"name": "shop", "title": "Shop", "label": {"column": "aisle"}, "fields": fields})


def products(rows: int, seed: int) -> pl.DataFrame:
    """Brands have labels, prices and a word of their own, as brands do."""
    rng = np.random.default_rng(seed)
    brand = rng.integers(0, BRANDS, rows)
    label = np.array(list(LABELS))[(brand + (rng.random(rows) < 0.2)) % len(LABELS)]
    titles = [
        " ".join([f"b{own}", *rng.choice(LABELS[said].split(), 3)]) for own, said in zip(brand, label, strict=True)
    ]
    return pl.DataFrame(
        {
            "title": titles,
            "brand": [f"Brand {own}" for own in brand],
            "price": np.exp(rng.normal(2 + brand % 5 / 4, 0.5)),
            "label": label,
            "confidence": rng.beta(8, 1, rows),
        }
    )


def judged(before: pl.DataFrame, now: pl.DataFrame, seed: int = 0) -> drift.DriftResult:
    return drift.compare(before, now, spec(), comparison="arrivals", seed=seed, pictures=False)


@pytest.mark.parametrize("kind", ["at random", "range", "refresh"])
def test_ordinary_increments_raise_few_alarms_however_they_come(kind: str):
    world = products(9_000, 1)
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        if kind == "range":
            own = world["brand"] == f"Brand {rng.integers(BRANDS)}"
            before, now = world.filter(~own), world.filter(own)
        elif kind == "refresh":
            own = (world["label"] == rng.choice(list(LABELS))).to_numpy() & (rng.random(world.height) < 0.2)
            before, now = world.filter(~own), world.filter(own)
        else:
            own = rng.random(world.height) < 0.1
            before, now = world.filter(~own), world.filter(own)
        alarms += judged(before, now, seed).drifted
    # 5 % of 20 is one; four or more would happen once in 60 times even so.
    assert alarms <= 3


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (pl.lit(None, pl.String).alias("brand"), ("missing_share", "brand")),
        (pl.lit(None, pl.Float64).alias("price"), ("missing_share", "price")),
        (pl.lit("neue Ware aus dem Lager").alias("title"), ("new_word_share", "title")),
    ],
    ids=["brand is empty", "price is empty", "another language"],
)  # fmt: skip
def test_drift_among_arrivals_is_found(change: pl.Expr, found: tuple[str, str]):
    result = judged(products(5_000, 1), products(1_000, 2).with_columns(change))
    assert found in set(result.scores.filter("drifted").select("metric", "field").iter_rows())


def test_one_label_alone_is_drift_of_a_catalogue_and_an_ordinary_increment():
    world, now = products(5_000, 1), products(2_000, 2).filter(pl.col("label") == "Home")
    assert not judged(world, now).drifted
    assert drift.compare(world, now, spec(), comparison="catalogue", seed=0, pictures=False).drifted


def test_the_next_increment_passes_a_threshold_as_rarely_as_stated():
    """Conformal: whatever the scores' distribution and however many measures there are."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        scores = rng.lognormal(0, 1, (40, DRAWN + 1))
        limits = thresholds(scores[:, :DRAWN], [0.1] * 40, ["at random"] * DRAWN, 0.05)
        passed += bool((scores[:, DRAWN] > limits).any())
    # Half of 5 % is aimed at, 10 of 400.
    assert 3 <= passed <= 20, passed


def test_thresholds_are_never_below_what_the_catalogue_asks_for():
    quiet = np.zeros((2, 100))
    assert thresholds(quiet, [0.1, 0.3], ["at random"] * 100, 0.05) == [0.1, 0.3]
    assert thresholds(np.full((1, 100), np.nan), [0.2], ["at random"] * 100, 0.05) == [0.2]


def test_an_increment_shares_no_product_with_what_it_is_compared_with():
    world = products(600, 1)
    drawn = draw(world, ["brand"], "label", 100, 0)
    assert {"at random", "new range (brand)", "refresh (label)"} == set(drawn.kinds)
    current, left_out = drawn.current.toarray().astype(bool), drawn.left_out.toarray().astype(bool)
    assert (left_out | ~current).all(), "what is in an increment is not compared with"
    for kind, rows, out in zip(drawn.kinds, current, left_out, strict=True):
        if kind.startswith("new range"):
            ranges = set(world["brand"].filter(pl.Series(rows)))
            assert not ranges & set(world["brand"].filter(pl.Series(~out))), "of a new range nothing was there before"
