"""A few products are read without Polars: what they are scored by is what it would be in bulk, to the bit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.linear import Linear
from classifier.number_field import NumberField
from classifier.parts import WordNames
from classifier.recipes import resolve
from classifier.vectoriser import ProductVectoriser
from classifier.written import written
from tests.products import shop
from tests.test_classifier import FIELDS, rows

SETTINGS = {
    "as it is": {},
    "words alone": {"words.ngrams": "1"},
    "four words": {"words.ngrams": "4"},
    "every count": {"words.sublinear": "false"},
    "no subwords": {"subwords.shortest": "0", "subwords.longest": "0"},
}
LABELS = 3


@lru_cache
def weighed(setting: str) -> ProductVectoriser:
    spec, frame = shop()
    vectoriser = ProductVectoriser(spec.fields, resolve(spec, "linear", SETTINGS[setting]))
    width = vectoriser.fit(frame).shape[1]
    coefficients = np.random.default_rng(0).normal(size=(width, LABELS)).astype(np.float32)
    vectoriser.weigh(Linear(coefficients, np.zeros(LABELS, dtype=np.float32)))
    return vectoriser


@pytest.mark.parametrize("setting", SETTINGS)
@given(products=st.lists(rows, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_few_products_have_the_very_parts_that_they_have_in_bulk(
    setting: str, products: list[dict[str, Any]]
) -> None:
    vectoriser, schema = weighed(setting), shop()[1].select(FIELDS).schema
    frame = pl.DataFrame(products, schema=schema, strict=False)
    bulk = vectoriser.parts({name: frame[name] for name in vectoriser.reads})
    few = vectoriser.parts({name: frame[name].to_list() for name in vectoriser.reads})
    assert [part.field for part in few] == [part.field for part in bulk]
    for one, other in zip(few, bulk, strict=True):
        assert one.rows.width == other.rows.width
        for name in ("starts", "ids", "values"):
            assert np.array_equal(getattr(one.rows, name), getattr(other.rows, name)), name
        assert one.rows.values.dtype == other.rows.values.dtype == np.float32
        assert np.array_equal(one.weights, other.weights)
        assert one.names.few(one.rows.ids.tolist()) == other.names.many(other.rows.ids).to_list()


def test_an_integer_falls_into_the_bin_of_the_float_that_it_is_in_bulk() -> None:
    """Where floats are further apart than integers, an edge may lie between the two."""
    field = NumberField("price", 1.0, 2)
    field.fit(pl.Series([0.0, 2.0**53 + 4]))
    field.weigh([np.zeros((len(field.edges) + 1, LABELS), dtype=np.float32)])
    given = 2**53 + 3
    assert field.edges.tolist() == [float(given)]
    (few,) = field.parts([given])
    (bulk,) = field.parts(pl.Series([given]))
    assert few.rows.ids.tolist() == bulk.rows.ids.tolist() == [1]


def test_what_no_float_holds_has_no_bin() -> None:
    field = NumberField("price", 1.0, 2)
    field.fit(pl.Series([0.0, 1.0]))
    field.weigh([np.zeros((len(field.edges) + 1, LABELS), dtype=np.float32)])
    (few,) = field.parts([10**400, 1.0])
    assert few.rows.starts.tolist() == [0, 0, 1]


TEXTS = ["Red Shoe", None, "", "ÉTÉ", "ΣΟΦΟΣ, ὈΔΥΣΣΕΎΣ", "İstanbul", "👟 x", "a\0b"]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("joined", [1, 7, 1 << 30])
def test_texts_have_the_same_bytes_as_a_column_and_as_a_list_however_much_is_joined_at_once(
    monkeypatch: pytest.MonkeyPatch, joined: int, lowercase: bool
) -> None:
    monkeypatch.setattr("classifier.written._JOINED_BYTES", joined)
    data, ends = written(pl.Series(TEXTS), lowercase=lowercase)
    of_list = written(TEXTS, lowercase=lowercase)
    assert (data.tobytes(), ends.tolist()) == (of_list.data.tobytes(), of_list.ends.tolist())
    assert written(pl.Series([], dtype=pl.String)).ends.tolist() == written([]).ends.tolist() == []
    assert written(pl.Series([12, None])).data.tobytes() == written([12, None]).data.tobytes() == b"12"


def test_a_lone_surrogate_in_a_list_spoils_neither_its_text_nor_the_others() -> None:
    data, ends = written(["\ud800 Red", "Blue"], lowercase=True)
    assert data[: ends[0]].tobytes().decode().endswith(" red")
    assert data[ends[0] :].tobytes() == b"blue"


@pytest.mark.parametrize("times", [1, 5])
def test_tokens_have_the_same_names_however_many_are_asked_for(times: int) -> None:
    names = WordNames(pl.Series(["ash", "birch", "cedar"]))
    ids = [2, 0, 1] * times
    assert names.few(ids) == names.many(np.array(ids)).to_list() == ["cedar", "ash", "birch"] * times
