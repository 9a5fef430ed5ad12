"""Raw rows become canonical products: the same product from any way in, and digests that hold for years."""

from __future__ import annotations

import html
import json
import math
import re

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalogs import control
from catalogs import normalise as normalising
from catalogs.control import CONTROL, has_control, without_control
from catalogs.jsonl import as_declared
from catalogs.normalise import normalise, normalise_records
from catalogs.numbers import number, numbers
from catalogs.product import FEATURE_HASH, ROW_HASH, TEXT_HASH, schema
from catalogs.readers import read
from catalogs.records import asked_of, product_of
from catalogs.registry import load
from catalogs.sources import resolve
from catalogs.spec import CatalogSpec

SHOP = CatalogSpec.model_validate(
    {
        "name": "shop",
        "title": "A shop",
        "id": "sku",
        "label": {"column": "aisle", "html": True, "ignored": ["Gone"], "aliases": {"shoe": "Shoes"}},
        "fields": [
            {"name": "title", "kind": "text", "html": True},
            {"name": "body", "column": "Body Text", "kind": "text", "optional": True},
            {"name": "brand", "kind": "keyword", "html": True},
            {"name": "related", "kind": "ids"},
            {"name": "price", "kind": "number"},
        ],
        "keep": ["colour"],
    }
)
HOSTED = CatalogSpec.model_validate(
    SHOP.model_dump(include={"name", "title", "id", "label"})
    | {
        "fields": [
            {"name": "title", "kind": "text"},
            {"name": "seller", "column": "page", "kind": "keyword", "host": True, "html": True},
        ]
    }
)
PATHS = CatalogSpec.model_validate(
    {
        "name": "paths",
        "title": "Paths",
        "label": {"columns": ["one", "two", "three"], "ignored": ["Gone"]},
        "fields": [{"name": "title", "kind": "text"}],
    }
)
LISTED = CatalogSpec.model_validate(
    {
        "name": "listed",
        "title": "A path in a list",
        "label": {"list_column": "path", "levels": ["one", "two"], "html": True, "ignored": ["Gone"]},
        "fields": [{"name": "title", "kind": "text"}, {"name": "path_words", "column": "tags", "kind": "ids"}],
    }
)


def in_bulk(records, spec, **options):
    """The way of a file: never one by one, however few."""
    limit = normalising.MOST_RECORDS_ONE_BY_ONE
    normalising.MOST_RECORDS_ONE_BY_ONE = -1
    try:
        return normalise_records(records, spec, **options)
    finally:
        normalising.MOST_RECORDS_ONE_BY_ONE = limit


def one(record, spec=SHOP):
    """A single record's product; the way of the API and that of a file must agree."""
    alone, bulk = normalise_records([record], spec), in_bulk([record], spec)
    assert alone.equals(bulk)
    return alone.row(0, named=True)


def products(path, catalog):
    spec = load(catalog)
    frames = [
        normalise(batch.frame, spec, file.name)
        for file in resolve(str(path), spec, path.parent)
        for batch in read(file, spec, 20_000)
    ]
    return pl.concat(frames), spec


# --- values -------------------------------------------------------------------------------------------------------


def test_a_product_has_the_canonical_columns_and_raw():
    frame = normalise_records([{"sku": " 7 ", "title": "Red Shoe"}], SHOP, "f.jsonl")
    assert frame.schema == {**schema(SHOP), "raw": pl.String}
    row = frame.row(0, named=True)
    assert (row["source_file"], row["source_row"], row["product_id"]) == ("f.jsonl", 1, "7")
    assert json.loads(row["raw"]) == {"sku": " 7 ", "title": "Red Shoe"}
    assert normalise_records([], SHOP).schema == in_bulk([], SHOP).schema == frame.schema


def test_text_stays_as_it_is_but_for_entities_and_control_characters():
    row = one({"title": "  A&amp;B\x07C &eacute;\n\tD  ", "Body Text": 'x &amp; y;  "z"', "brand": " L&#39;Or\x85 "})
    assert row["title"] == "  A&B C é\n\tD  "
    assert row["body"] == 'x &amp; y;  "z"'
    assert row["brand"] == "L'Or"


@pytest.mark.parametrize("blank", ["", "   ", "\t\n", "\x00", "\u3000", "&nbsp;", None, [], [""]])
def test_a_blank_value_is_none(blank):
    row = one({"sku": blank, "title": blank, "brand": blank, "related": blank, "price": blank, "colour": blank})
    expected = "&nbsp;" if blank == "&nbsp;" else None  # only title and brand are declared to be escaped
    assert row["title"] is None
    assert row["brand"] is None
    assert row["product_id"] == expected
    assert row["colour"] == expected
    assert row["related"] == (["&nbsp;"] if expected else None)
    assert row["price"] is None


def test_ids_are_trimmed_and_empty_ones_left_out():
    assert one({"related": [" B01 ", "", None, "B02\x00"]})["related"] == ["B01", "B02"]


def test_a_field_may_be_given_by_its_own_name():
    assert one({"body": "words"})["body"] == "words"
    assert one({"body": "words", "Body Text": "other"})["body"] == "other"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$12.99", 12.99),
        ("₹9,99,999", 999_999),
        ("₹1,23,456.78", 123_456.78),
        ("1,234.5", 1234.5),
        ("12'345.60", 12345.6),
        ("1 234", 1234),
        ("Rs. 300", 300),
        ("US$5", 5),
        ("R$ 12.50", 12.5),
        ("EUR 5", 5),
        ("5 €", 5),
        ("$8.99 - $12.99", 8.99),
        ("-$5", -5),
        ("12 kg", 12),
        ("5%", 5),
        ("  7 ", 7),
        (".5", 0.5),
        ("1e-05", 1e-05),
        (12.5, 12.5),
        (-0.0, 0),
        (["$5"], 5),
        ("", None),
        ("Get", None),
        ("FREE", None),
        ("FREE Delivery by Amazon", None),
        ("Only 3 left in stock.", None),
        ("12,99", None),
        ("1,23", None),
        ("2 x 4", None),
        ("nan", None),
        ("inf", None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e999", None),
        (".a-box-inner{background-color:#fff}", None),
    ],
)
def test_an_amount_is_a_number_and_anything_else_is_none(written, value):
    assert one({"price": written})["price"] == value


@pytest.mark.parametrize(
    ("written", "value"),
    [("1.234,50 €", 1234.5), ("12,99", 12.99), ("1.234", 1234), ("12.5", 12.5), ("0,5", 0.5), ("1e-05", 1e-05)],
)
def test_a_decimal_comma_is_declared(written, value):
    assert number(written, ",") == value
    assert numbers(pl.Series([written]), ",").to_list() == [value]


AMOUNTS = st.text(st.sampled_from("0123456789.,'-+ $₹€%eEkgRs\u00a0\n"), max_size=10) | st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(st.lists(AMOUNTS, min_size=1, max_size=30), st.sampled_from([".", ","]))
def test_one_amount_and_a_column_of_amounts_agree(amounts, decimal):
    in_column = numbers(pl.Series(amounts, dtype=pl.String), decimal).to_list()
    assert in_column == [number(amount, decimal) for amount in amounts]
    assert not any(value is not None and (not math.isfinite(value) or str(value) == "-0.0") for value in in_column)


ENTITIES = st.sampled_from(
    ["&amp;", "&lt;", "&quot;", "&#39;", "&#x27;", "&eacute;", "&amp", "&;", "&notit;", "&nbsp;"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(ENTITIES | st.text(max_size=4), max_size=5).map("".join), min_size=1, max_size=20))
@example(["&amp;amp;", "&&amp;lt;", "&am&amp;p;", "&#38;lt;", "a & b"])
def test_entities_are_unescaped_exactly_as_pythons_html_does(texts):
    series = pl.Series(texts, dtype=pl.String)
    assert normalising._unescaped(series).to_list() == [html.unescape(text) for text in texts]
    assert series.to_list() == texts, "the column that was given stays as it was"


NEARLY_CONTROL = st.sampled_from(["\x00", "\x1f", "\t\r\n", "\x7f", "\x80", "\x85", "\x9f", "\xa0", "\xc2", "é", "~"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.lists(NEARLY_CONTROL | st.text(max_size=3), max_size=4).map("".join), max_size=12))
@example([])
@example([None, None])
@example(["", "\x01"])
def test_control_characters_become_spaces_in_a_column_as_in_one_text(texts):
    series = pl.Series(texts, dtype=pl.String)
    expected = [None if text is None else re.sub(CONTROL, " ", text) for text in texts]
    assert without_control(series).to_list() == expected
    assert without_control(series[1:]).to_list() == expected[1:]
    assert without_control(pl.concat([series, series], rechunk=False)).to_list() == expected * 2
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(control, "_MOST_BYTES", 0)
        assert without_control(series).to_list() == expected
    assert series.to_list() == texts, "the column that was given stays as it was"
    for text, clean in zip(texts, expected, strict=True):
        assert has_control((text or "").encode()) == (text != clean)


LISTS = st.lists(
    st.none() | st.lists(st.none() | st.sampled_from(["a", " b ", "", " ", "c\x00"]), max_size=4), max_size=8
)


@settings(max_examples=200, deadline=None)
@given(LISTS)
@example([["a", "b"], ["c"]])
@example([["a", None], None, []])
def test_entries_of_a_list_are_trimmed_and_none_is_left_empty(lists):
    frame = pl.DataFrame({"related": pl.Series(lists, dtype=pl.List(pl.String))})
    found = frame.select(normalising._trimmed_entries(pl.col("related"))).to_series()
    clean = [None if row is None else [(entry or "").replace("\0", " ").strip() for entry in row] for row in lists]
    trimmed = [None if row is None else [entry for entry in row if entry] for row in clean]
    assert found.to_list() == trimmed
    cut = pl.concat([frame[1:], frame[:1]], rechunk=False)
    found = cut.select(normalising._trimmed_entries(pl.col("related"), escaped=True)).to_series()
    assert found.to_list() == trimmed[1:] + trimmed[:1]


@settings(max_examples=100, deadline=None)
@given(LISTS)
@example([["a", None], None, []])
def test_a_decoded_list_has_no_nulls(lists):
    frame = pl.DataFrame({"related": pl.Series(lists, dtype=pl.List(pl.String))})
    every = frame.select(pl.col("related").alias(column) for column in SHOP.source_columns)
    told = [None if row is None else [entry for entry in row if entry is not None] for row in lists]
    assert as_declared(every, SHOP)["related"].to_list() == told


# --- labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "path"),
    [
        (" Books ", ["Books"]),
        ("Movies &amp; TV", ["Movies & TV"]),
        ("shoe", ["Shoes"]),
        ("Gone", None),
        ("", None),
        (None, None),
        (["Books"], ["Books"]),
        (7, ["7"]),
        ('<img src="x"/>', ['<img src="x"/>']),
    ],
)
def test_a_plain_label_is_a_path_of_one(label, path):
    assert one({"aisle": label})["known_path"] == path


@pytest.mark.parametrize(
    ("levels", "path"),
    [
        (("a", "b", "c"), ["a", "b", "c"]),
        (("a", "b", " "), ["a", "b"]),
        (("a", None, "c"), ["a"]),
        ((None, "b", "c"), None),
        (("Gone", "b", "c"), None),
    ],
)
def test_a_path_ends_before_its_first_empty_level(levels, path):
    assert one(dict(zip(("one", "two", "three"), levels, strict=True)), PATHS)["known_path"] == path


@pytest.mark.parametrize(
    ("given_path", "path"),
    [
        (["a&amp;", "b"], ["a&", "b"]),
        (["a", "b", "c"], ["a", "b"]),
        ([" ", "b"], ["b"]),
        ("a", ["a"]),
        ([], None),
        (["Gone", "b"], None),
        (None, None),
    ],
)
def test_a_path_in_a_list_is_cut_at_the_declared_levels(given_path, path):
    assert one({"path": given_path, "title": "t"}, LISTED)["known_path"] == path


# --- one product, any way in --------------------------------------------------------------------------------------

TEXT = st.text(max_size=12) | st.text(
    st.sampled_from("aB &;#x27amp\x00\x1f\x85\x9f\t\n\r\xa0\u2028İΣςß1.,$"), max_size=12
)
FLOATS = st.floats().map(lambda value: float(f"{value:.12g}"))
VALUE = st.none() | TEXT | st.lists(st.none() | TEXT | st.integers(-9, 9), max_size=3) | FLOATS | st.booleans()
KEYS = ["sku", "title", "Body Text", "body", "brand", "page", "seller", "related", "price", "aisle", "colour", "other"]
RECORDS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUE), min_size=1, max_size=8)


@settings(max_examples=120, deadline=None)
@given(RECORDS)
def test_a_record_gives_the_same_product_alone_and_in_bulk(records):
    bulk = in_bulk(records, SHOP)
    assert bulk.equals(normalise_records(records, SHOP))
    assert (
        pl.concat(normalise_records([record], SHOP) for record in records)
        .drop("source_row")
        .equals(bulk.drop("source_row"))
    )


@pytest.mark.parametrize("spec", [SHOP, PATHS, HOSTED], ids=["an id", "no id", "hosts"])
@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_a_product_that_is_only_asked_about_is_the_same_without_digests(spec, records):
    for record in records:
        stored, asked = product_of(record, spec), product_of(record, spec, digests=False)
        assert repr(asked) == repr({name: stored[name] for name in asked})  # NaN is not equal to itself
        assert stored.keys() - asked.keys() == {TEXT_HASH, FEATURE_HASH, ROW_HASH}


@pytest.mark.parametrize("spec", [SHOP, PATHS, HOSTED], ids=["an id", "no id", "hosts"])
@settings(max_examples=120, deadline=None)
@given(RECORDS)
@example([])
@example([{"related": ["a", "b\udc80"]}, {"related": [["c", 1], {"d": None}, "\x85 e"]}, {"body": "f"}])
def test_products_that_are_asked_about_together_are_what_each_is_alone(spec, records):
    alone = [product_of(record, spec, digests=False) for record in records]
    together = asked_of(records, spec)
    assert repr(together) == repr({name: [product[name] for product in alone] for name in together})


@pytest.mark.parametrize("dirty", ["a\x00b", "a\x7fb", "a\x85b", "a\udc80b", "é\x9f", "a &amp; b"])
def test_one_text_that_has_to_be_cleaned_changes_no_other(dirty):
    titles = ["clean", "käse\n", dirty, "\u2028", " "]
    asked = asked_of([{"sku": "1", "title": title} for title in titles], SHOP)
    assert asked["title"] == [product_of({"sku": "1", "title": title}, SHOP)["title"] for title in titles]
    assert asked["title"][:2] == titles[:2]
    assert asked["title"][2] not in {dirty, None}


def test_a_file_and_its_records_give_the_same_products(tmp_path, home):
    records = [
        {"sku": "1", "title": "Tom &amp; Jerry", "related": ["a", 1], "price": 1.50, "aisle": "shoe"},
        {"sku": "2", "title": ["a", "b"], "related": "x", "price": "₹9,99,999", "Body Text": {"k": [1]}},
        {"sku": "3", "title": None, "price": float("nan"), "aisle": "Gone"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    [file] = resolve(str(path), SHOP, tmp_path)
    [batch] = read(file, SHOP)
    from_file = normalise(batch.frame, SHOP, "")
    assert from_file.drop("raw").equals(normalise_records(records, SHOP).drop("raw"))


# --- digests ------------------------------------------------------------------------------------------------------


def test_digests_are_what_they_were():
    """They must hold across releases of Polars and Python: a changed digest re-stores and re-scores everything."""
    row = one({"sku": "1", "title": "Red  SHOE\n", "brand": "Ä", "related": ["a", "b"], "price": "$0.10", "aisle": "x"})
    assert row["text_hash"] == "207cd3fe8a61780c0e7dd47abe08147b"
    assert row["feature_hash"] == "c558d3be65f6d4d532a1d21a68793bf242209081bb4378dbe185b3394b533fb8"
    assert row["row_hash"] == "a3141ccab11b04bdd6ee82c9b1b7941265d425ab889f41ef6c8408734299b14c"


def test_the_text_digest_groups_what_reads_the_same():
    first = one({"title": "Red Shoe", "Body Text": "fine"})["text_hash"]
    assert one({"title": " red\n\tSHOE ", "Body Text": "fine\u00a0"})["text_hash"] == first
    assert one({"title": "red shoe fine", "brand": "other", "price": 3})["text_hash"] == first
    assert one({"title": "red shoes", "Body Text": "fine"})["text_hash"] != first


def test_the_feature_digest_knows_only_what_the_model_reads():
    base = {"sku": "1", "title": "t", "related": ["a"], "price": 1, "aisle": "x", "colour": "red"}
    first = one(base)
    for change in ({"sku": "2"}, {"aisle": "y"}, {"colour": "blue"}):
        other = one(base | change)
        assert other["feature_hash"] == first["feature_hash"]
        assert other["row_hash"] != first["row_hash"]
    for change in ({"title": "T"}, {"brand": "b"}, {"related": ["a", "b"]}, {"price": 1.0000001}, {"Body Text": "t"}):
        other = one(base | change)
        assert other["feature_hash"] != first["feature_hash"]
        assert other["row_hash"] != first["row_hash"]


def test_values_never_run_into_each_other():
    digests = {
        one(record)["feature_hash"]
        for record in (
            {"title": "a", "Body Text": "b"},
            {"title": "a\x1fb"},
            {"title": "ab"},
            {"Body Text": "ab"},
            {"related": ["a", "b"]},
            {"related": ["a\x1eb"]},
            {"related": ["ab"]},
            {"price": 0},
            {},
        )
    }
    assert len(digests) == 9


def test_without_an_id_the_text_names_the_product():
    row = one({"title": "Some text", "one": "a"}, PATHS)
    assert row["product_id"] == row["text_hash"]


@pytest.mark.parametrize("spec", [SHOP, PATHS])
def test_without_digests_a_product_is_the_same_but_for_them(spec):
    records = [{"sku": "7", "title": "Red  Shoe &amp; more", "price": "3"}, {"title": "Café\xa0au lait", "one": "a"}]
    whole, bare = in_bulk(records, spec), in_bulk(records, spec, digests=False)
    assert set(whole.columns) - set(bare.columns) == {"text_hash", "feature_hash", "row_hash"}
    assert bare.equals(whole.select(bare.columns))
    assert normalise_records(records, spec, digests=False).equals(bare)


# --- real files ---------------------------------------------------------------------------------------------------


def test_amazon_india_prices_are_numbers(shared_data, home):
    frame, _ = products(shared_data / "amazon_india" / "products.parquet", "amazon_india")
    source = pl.read_parquet(shared_data / "amazon_india" / "products.parquet")
    for column in ("discount_price", "actual_price"):
        assert frame[column].null_count() == source[column].null_count()
        plain = source[column].str.replace_all("[₹,]", "").cast(pl.Float64)
        assert frame[column].equals(plain, null_equal=True)
    assert number("₹9,99,999") == 999_999
    paths = frame.group_by("product_id").agg(pl.col("known_path").n_unique())
    assert (paths["known_path"] > 1).sum() == 2_519


def test_ratings_that_are_no_numbers_are_none(shared_data, home):
    source = pl.read_parquet(shared_data / "amazon_india" / "products.parquet")
    for column in ("ratings", "no_of_ratings"):
        plain = source[column].str.replace_all(",", "").cast(pl.Float64, strict=False)
        priced = source[column].str.starts_with("₹").fill_null(value=False)
        assert numbers(source[column]).filter(~priced).equals(plain.filter(~priced), null_equal=True)
        assert numbers(source[column]).filter(priced).null_count() == 0


def test_control_characters_leave_the_tokens_as_they_are(shared_data, home):
    frame, _ = products(shared_data / "newsgroups" / "train.jsonl.gz", "newsgroups")
    raw = [json.loads(line)["text"] for line in frame["raw"]]
    control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
    assert sum(control.search(text) is not None for text in raw) > 0
    assert not any(control.search(text) for text in frame["text"])
    token = re.compile(r"(?u)\b\w\w+\b")
    assert all(token.findall(a) == token.findall(b) for a, b in zip(raw, frame["text"], strict=True))


def test_amazons_magazines_are_stored_unlabelled_and_their_html_titles_fail(shared_data, home):
    frame, spec = products(shared_data / "amazon2018" / "meta_Magazine_Subscriptions.json.gz", "amazon")
    assert frame["known_path"].null_count() == frame.height == 3_385
    rules = [rule for rule in spec.expectations if rule.column == "title" and rule.severity == "reject"]
    fails = pl.any_horizontal(pl.col("title").str.contains(rule.pattern) for rule in rules)
    failed = frame.filter(fails)["title"]
    assert failed.value_counts().sort("count", descending=True).rows() == [
        ('<span class="a-size-medium a-color-secondary"', 3_153),
        (' Magazines" />', 10),
    ]
    assert "Disney & Me" in frame.filter(~fails)["title"]


def test_every_path_of_the_real_sets_has_all_its_levels(shared_data, home):
    for path, catalog in (("myntra/styles.csv", "myntra"), ("mwpd_gpc/train.jsonl.gz", "gpc")):
        frame, spec = products(shared_data / path, catalog)
        assert frame["known_path"].list.len().unique().to_list() == [len(spec.levels)]
