"""Weak parts of a hold-out are found and named, and luck is not."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks.measure import Work, measured
from classifier.languages import UNTOLD, guess_languages
from classifier.slices import SLICES, Slices, slices
from tests.products import shop

WORDS = ["lamp", "chair", "table", "sofa", "mug", "spoon", "the best of all for you", "with and from this"]


def products(rows: int, seed: int = 0) -> pl.DataFrame:
    """Products of the shop's shape, with answers that are right nine times in ten."""
    rng = np.random.default_rng(seed)
    label = [[str(number)] for number in rng.integers(0, 3, rows)]
    right = rng.random(rows) < 0.9
    return pl.DataFrame(
        {
            "known_path": label,
            "label_path": [path if good else ["wrong"] for path, good in zip(label, right, strict=True)],
            "title": [" ".join(rng.choice(WORDS, 3)) for _ in range(rows)],
            "description": [None if chance < 0.3 else "text" for chance in rng.random(rows)],
            "brand": [None if chance < 0.2 else f"Brand {number}" for chance, number in
                      zip(rng.random(rows), rng.integers(0, 40, rows), strict=True)],
            "also_buy": [[] if chance < 0.5 else ["x1"] for chance in rng.random(rows)],
            "price": [None if chance < 0.1 else float(price) for chance, price in
                      zip(rng.random(rows), rng.lognormal(3, 1, rows), strict=True)],
        },
        schema_overrides={"known_path": pl.List(pl.String), "label_path": pl.List(pl.String)},
    )  # fmt: skip


def spoilt(frame: pl.DataFrame, where: pl.Expr, share: float) -> pl.DataFrame:
    """The same with answers that are wrong for so much of a part of it."""
    rng = np.random.default_rng(99)
    wrong = where & pl.Series(rng.random(frame.height) < share)
    return frame.with_columns(pl.when(wrong).then(pl.lit(["wrong"])).otherwise("label_path").alias("label_path"))


def cut(frame: pl.DataFrame, train: pl.DataFrame | None = None) -> Slices:
    found = slices(frame, products(500, seed=5) if train is None else train, shop(300)[0])
    assert found is not None
    return found


def named(found: Slices) -> list[tuple[str, str]]:
    return [(row["by"], row["slice"]) for row in found.weak]


def test_products_without_a_brand_are_named_when_they_are_the_weak_ones():
    found = cut(spoilt(products(1_500), pl.col("brand").is_null(), 0.4))
    assert named(found) == [("brand", "missing")]
    row = found.weak[0]
    assert row["low"] < row["accuracy"] < row["high"] < found.overall
    assert row["expected"] > row["high"], "it is not their labels"


def test_values_that_training_never_showed_are_a_slice_whatever_their_case():
    train = products(500).with_columns(pl.when(pl.col("brand") != "Brand 7").then("brand").alias("brand"))
    frame = products(1_500).with_columns(pl.col("brand").str.to_uppercase())
    found = cut(spoilt(frame, pl.col("brand") == "BRAND 7", 0.9), train)
    unseen = found.table.filter(pl.col("slice") == "unseen in training")
    assert unseen["rows"].to_list() == [frame.filter(pl.col("brand") == "BRAND 7").height]
    assert ("brand", "unseen in training") in named(found) or unseen["rows"][0] < 30


def test_a_band_of_prices_and_of_lengths_is_named():
    frame = products(2_000)
    dear = frame["price"].quantile(0.75)
    assert [by for by, _ in named(cut(spoilt(frame, pl.col("price") > dear, 0.3)))] == ["price"]
    long = pl.col("title").str.len_chars() > 40
    assert "length of the text" in [by for by, _ in named(cut(spoilt(frame, long, 0.3)))]


def test_a_model_that_is_equally_good_everywhere_has_hardly_ever_a_weak_slice():
    reports = [cut(products(800, seed=seed)) for seed in range(40)]
    assert sum(bool(found.weak) for found in reports) <= 5, "5 % of 40 reports is 2"


def test_a_few_bad_products_are_shown_and_not_called_weak():
    frame = products(400)
    few = pl.int_range(pl.len()) < 12
    frame = frame.with_columns(pl.when(few).then(None).otherwise(pl.lit(["x1"])).alias("also_buy"))
    found = cut(spoilt(frame, few, 1.0))
    row = found.table.filter((pl.col("by") == "also_buy") & (pl.col("slice") == "missing")).row(0, named=True)
    assert (row["rows"], row["accuracy"], row["weak"]) == (12, 0.0, None)
    assert ("also_buy", "missing") not in named(found)


def test_what_is_not_cut_is_said():
    frame = products(200).with_columns(pl.lit("lamp").alias("title"), pl.lit(1.0).alias("price"))
    found = cut(frame)
    said = " ".join(found.notes)
    assert "lack title, price" in said
    assert "Bands of price" in said
    assert "too short to guess" in said
    assert slices(frame.clear(), frame, shop(300)[0]) is None
    assert dict(found.table.schema) == SLICES


def test_every_slice_counts_each_product_once():
    frame = products(600)
    table = cut(frame).table
    for by in ("length of the text", "description"):
        assert table.filter(pl.col("by") == by)["rows"].sum() == 600


def test_languages_are_told_apart_and_short_titles_left_alone():
    texts = {
        "the lamp with a shade for the table": "English",
        "Lampe mit Schirm für den Tisch und das Bett": "German",
        "lampe avec abat-jour pour la table et les chambres": "French",
        "cortina para sala com ilhós do quarto e uma colcha": "Portuguese",
        "lámpara con pantalla para el salón y los dormitorios": "Spanish",
        "Лампа настольная": "Cyrillic script",
        "電気スタンド ランプ": "Japanese",
        "Lamp 40W": UNTOLD,
        "": UNTOLD,
    }
    assert guess_languages(pl.Series(list(texts))).to_list() == list(texts.values())
    assert guess_languages(pl.Series([None], dtype=pl.String)).to_list() == [UNTOLD]


def many_ids() -> Work:
    """A job: cut 4,000 products by whether they name one of 20,000 ids of the training products."""
    frame, train = (
        products(rows).with_columns(pl.concat_list(pl.format("x{}", pl.int_range(pl.len()) + start)).alias("also_buy"))
        for rows, start in ((4_000, 18_000), (20_000, 0))
    )
    return lambda: {"slices": cut(frame, train).table.filter(by="also_buy").select("slice", "rows").rows()}


def test_values_unseen_in_training_are_found_without_holding_every_pair_of_a_product_and_an_id():
    found = measured(many_ids, {})
    assert sorted(found.facts["slices"]) == [["none seen in training", 2_000], ["some seen in training", 2_000]]
    assert found.peak_mib < 600, "4,000 products times 20,000 ids take more than twice that"
