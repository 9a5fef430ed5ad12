"""Where products lie by their words: the same every time, kept with the model, and far from what was never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from classifier.embedding import BEYOND, fit_embedding

KINDS = {
    "lamp": "brass lamp shade bulb light desk warm glow",
    "shoe": "leather shoe sole lace running trail size walk",
    "book": "novel paperback author story pages history fiction cover",
}


def products(rows: int, seed: int, kinds: list[str] | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(kinds or list(KINDS), rows)
    titles = [" ".join(rng.choice(KINDS[kind].split(), 5, replace=False)) for kind in chosen]
    return pl.DataFrame({"title": titles})


def test_what_was_never_seen_lies_beyond_and_what_was_does_not():
    embedding = fit_embedding(products(2_000, 1), ["title"], 0)
    assert embedding is not None
    usual, odd = products(1_000, 2), pl.DataFrame({"title": ["sour dough rye loaf", "wholemeal bagel with seeds"]})
    assert (embedding.place(usual).distance > embedding.limit).mean() < 3 * (1 - BEYOND)
    assert (embedding.place(odd).distance > embedding.limit).all()


def test_clusters_are_named_by_their_words_and_cover_all_training_products():
    embedding = fit_embedding(products(2_000, 1), ["title"], 0)
    assert embedding is not None
    assert embedding.clusters["share"].sum() == pytest.approx(1)
    kinds = [
        {kind for kind, words in KINDS.items() if set(said) <= set(words.split())}
        for said in embedding.clusters["words"]
    ]
    assert all(len(found) == 1 for found in kinds)
    assert {kind for found in kinds for kind in found} == set(KINDS)


def test_the_same_products_and_seed_give_the_same_places_and_so_does_what_was_saved(tmp_path: Path):
    first, again = (fit_embedding(products(500, 1), ["title"], 3) for _ in range(2))
    assert first is not None
    assert again is not None
    some = products(50, 2)
    assert np.array_equal(first.place(some).distance, again.place(some).distance)
    loaded = type(first).load(tmp_path / "embedding", first.save(tmp_path / "embedding"))
    assert np.array_equal(loaded.place(some).vectors, first.place(some).vectors)
    assert loaded.limit == first.limit
    assert loaded.clusters.equals(first.clusters)


@pytest.mark.parametrize(
    "texts",
    [[], ["lamp"], [None, None], ["one", "two", "three"], ["", " ", "!"]],
    ids=["none", "one", "null", "none shared", "empty"],
)
def test_products_that_share_no_word_are_placed_nowhere(texts: list[str | None]):
    assert fit_embedding(pl.DataFrame({"title": texts}, schema={"title": pl.String}), ["title"], 0) is None


def test_few_products_are_enough_and_a_product_without_a_known_word_is_as_far_as_can_be():
    embedding = fit_embedding(products(12, 1, ["lamp"]), ["title"], 0)
    assert embedding is not None
    placed = embedding.place(pl.DataFrame({"title": [None, "zzz", ""]}, schema={"title": pl.String}))
    assert placed.distance.tolist() == [1.0, 1.0, 1.0]
    assert embedding.place(pl.DataFrame({"other": ["x"]})).distance.tolist() == [1.0]
