"""Source files become raw rows: every row is read or rejected with a reason, whatever the file looks like."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalogs import jsonl
from catalogs.normalise import normalise
from catalogs.registry import check, load
from catalogs.spec import CatalogSpec
from core.errors import (
    ColumnMissing,
    SourceCorrupt,
    SourceEmpty,
    SourceEncoding,
    SourceFormat,
)
from core.settings import get_settings
from tests.reading import PLAIN, SHOP, Read, lines, refused

# --- JSON lines -------------------------------------------------------------------------------------------------


def test_jsonl_keeps_the_raw_line_and_its_number(write):
    text = '{"sku": "1", "title": "a", "aisle": "x"}\n\n  \r\n{"title": "b", "sku": "2"}\r\n{"sku":"3","title":"c"}'
    got = Read(write("a.jsonl", "\ufeff" + text))
    assert got.frame["source_row"].to_list() == [1, 4, 5]
    assert got.frame["raw"].to_list() == [line for line in text.replace("\r", "").split("\n") if line.strip()]
    assert got.frame["aisle"].to_list() == ["x", None, None]
    assert got.rejects.is_empty()


@pytest.mark.parametrize(
    ("column", "given_value", "kept"),
    [
        ("title", ["red", "shoe"], "red shoe"),
        ("title", ["red", "", None, "shoe"], "red shoe"),
        ("title", [], None),
        ("title", [["red"], ["big", "shoe"]], "red big shoe"),
        ("title", {"en": "shoe"}, '{"en":"shoe"}'),
        ("title", 12, "12"),
        ("title", 12.0, "12"),
        ("title", 0.1, "0.1"),
        ("title", 1e-7, "0.0000001"),
        ("title", 10**22, str(10**22)),
        ("title", True, "true"),
        ("title", None, None),
        ("title", float("nan"), None),
        ("title", float("inf"), None),
        ("related", "B01", ["B01"]),
        ("related", ["B01", None, 7, 1.5], ["B01", "7", "1.5"]),
        ("related", [["B01"], {"a": 1}], ["B01", '{"a":1}']),
        ("related", [], []),
        ("related", 5, ["5"]),
        ("related", None, None),
        ("price", 12.5, "12.5"),
        ("price", ["$5"], "$5"),
        ("aisle", ["shoes"], "shoes"),
    ],
)
@pytest.mark.parametrize("neighbour", ["ordinary", "odd"])
def test_values_of_another_json_type_are_kept(write, column, given_value, kept, neighbour):
    """Alone among ordinary lines, and beside one that Polars refuses: the same value either way."""
    records = [{"sku": "1", "title": "t"}, {"sku": "2", "title": "t", column: given_value}]
    if neighbour == "odd":
        records.append({"sku": "3", "title": {"odd": [1]}})
    got = Read(write("a.jsonl", lines(*records)))
    assert got.frame[column].to_list()[1] == kept
    assert got.rejects.is_empty()


def test_broken_lines_are_rejected_and_the_others_are_read(write):
    good = [{"sku": str(n), "title": f"t{n}"} for n in range(50)]
    bad = {
        10: ('{"sku": "x", "title": ', "not valid JSON"),
        20: ("[1, 2]", "not a JSON object but a list"),
        21: ("null", "not a JSON object but null"),
        22: ("42", "not a JSON object but a number"),
        30: ('{"sku": "y"}, {"sku": "z"}', "not valid JSON"),
        31: ('{"sku": "y"}{"sku": "z"}', "not valid JSON"),
        40: ("[" * 3000 + "]" * 3000, "not valid JSON"),
    }
    text = lines(*good).splitlines()
    for number in sorted(bad):
        text.insert(number - 1, bad[number][0])
    got = Read(write("a.jsonl", "\n".join(text)))
    assert got.read == 57
    assert got.frame["sku"].to_list() == [str(n) for n in range(50)]
    assert got.reasons.keys() == bad.keys()
    assert all(bad[number][1] in reason for number, reason in got.reasons.items())
    assert got.rejects["raw"].to_list() == [bad[number][0] for number in sorted(bad)]


@pytest.mark.parametrize(
    ("halves", "double"),
    [
        (['{"sku":"1","title":"a","x":[{"q":1}', '{"q":2}]}'], '{"sku":"2","title":"b"}, {"sku":"3","title":"c"}'),
        (
            ['{"sku":"1","title":"a","x":[{"q":{"z":1}', '{"q":2}}]}'],
            '{"sku":"2","title":"b"}},{"k":{"sku":"3","title":"c"}',
        ),
    ],
)
def test_two_halves_and_a_double_never_pass_as_two_whole_lines(write, halves, double):
    """Polars decodes many lines as one array; a line that closes another's brackets must not go unseen."""
    text = [*halves, double]
    good = [f'{{"sku":"{n}","title":"t"}}' for n in range(10, 20)]
    got = Read(write("a.jsonl", "\n".join(good[:5] + text + good[5:])))
    assert got.frame["sku"].to_list() == [str(n) for n in range(10, 20)]
    assert got.rejects["raw"].to_list() == text


def test_what_pythons_json_writes_is_read(write):
    got = Read(write("a.jsonl", '{"sku":"1","title":"a\\ud800b","price":NaN}\n{"sku":"2","title":"tab\there"}\n'))
    assert got.rejects.is_empty()
    assert got.frame["price"].to_list() == [None, None]
    assert got.frame["title"].to_list() == ["a\0b", "tab\there"]


def test_a_line_beyond_the_limit_costs_only_itself(write, monkeypatch):
    monkeypatch.setenv("AISLE_MAX_LINE_MIB", "1")
    get_settings.cache_clear()
    long = '{"sku":"long","title":"' + "x" * (9 << 20) + '"}'
    short = '{"sku":"short","title":"' + "x" * (1 << 20) + '"}'
    text = "\n".join(
        [lines({"sku": "1", "title": "a"}).strip(), long, short, lines({"sku": "2", "title": "b"}).strip()]
    )
    got = Read(write("a.jsonl", text))
    assert got.frame["sku"].to_list() == ["1", "2"]
    assert got.frame["source_row"].to_list() == [1, 4]
    assert got.reasons.keys() == {2, 3}
    assert "longer than 1 MiB" in got.reasons[2]
    assert [len(raw) for raw in got.rejects["raw"]] == [64 << 10, 64 << 10]


def test_a_line_that_is_not_utf8_is_rejected_among_good_ones(write):
    good = [json.dumps({"sku": str(n), "title": "é"}, ensure_ascii=False).encode() for n in range(30)]
    got = Read(write("a.jsonl", b"\n".join([*good[:7], b'{"sku":"x","title":"caf\xe9"}', *good[7:]])))
    assert got.frame.height == 30
    assert got.reasons == {8: "not UTF-8: byte 0xe9 at column 24"}
    assert got.rejects["raw"].to_list() == ['{"sku":"x","title":"caf\ufffd"}']


# Beyond 15 digits Polars and Python may write the same number differently.
FLOATS = st.floats().map(lambda value: float(f"{value:.12g}"))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FLOATS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
RECORDS = st.lists(
    st.dictionaries(st.sampled_from(["sku", "title", "brand", "related", "price", "aisle", "other"]), JSON_VALUES),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(RECORDS)
def test_both_ways_through_a_slice_give_the_same_values(records):
    """Whether Polars decodes a line or Python does depends on its neighbours; the values must not."""
    columns = PLAIN.source_columns
    for line in map(json.dumps, records):
        record, problem, strict = jsonl._parse(line)
        assert problem is None
        decoded = jsonl._decode(pl.Series([line]), columns)
        if decoded is not None:
            in_python = jsonl._frame_in_python([record], columns)
            one, other = (
                jsonl.as_declared(frame, PLAIN).with_columns(pl.col(pl.String).replace("", None))
                for frame in (decoded, in_python)
            )
            assert one.equals(other)
        else:
            assert not (strict and jsonl._is_ordinary(record, columns))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(1, 7))
def test_every_line_of_any_file_is_read_or_rejected(write, garbage, batch_rows):
    bad_lines = sum(part.count(b"\n") + 1 for part in garbage)
    good = [json.dumps({"sku": "1", "title": "t"}).encode()] * (bad_lines * 100 + 200)
    content = b"\n".join([*good, *garbage])
    path = write("a.jsonl", content)
    if content[:4096].count(0) * 3 > 4096:
        return
    got = Read(path, batch_rows=batch_rows * 500)
    blank = [not line.strip() for line in content.split(b"\n")]
    read_or_not = sorted([*got.frame["source_row"], *got.rejects["source_row"]])
    may_be_blank = {number for number, is_blank in enumerate(blank, 1) if is_blank}
    assert set(read_or_not) | may_be_blank >= set(range(1, len(blank) + 1)) - may_be_blank
    assert len(set(read_or_not)) == len(read_or_not)


# --- whole files --------------------------------------------------------------------------------------------------


def test_gzip_is_told_by_its_bytes_and_may_have_several_members(write):
    one, two = lines({"sku": "1", "title": "a"}), lines({"sku": "2", "title": "b"})
    packed = gzip.compress(one.encode()) + gzip.compress(b"") + gzip.compress(two.encode()) + b"\0" * 512
    for name in ("a.jsonl", "named.json"):
        got = Read(write(name, packed))
        assert got.frame["sku"].to_list() == ["1", "2"]


def test_truncated_or_altered_gzip_is_corrupt(write):
    packed = gzip.compress(lines(*({"sku": str(n), "title": f"t{n * n}"} for n in range(5000))).encode())
    altered = bytearray(packed)
    altered[-6] ^= 0xFF
    middle = bytearray(packed)
    middle[len(packed) // 2] ^= 0xFF
    assert "it ends in the middle" in refused(SourceCorrupt, write("a.jsonl", packed[: len(packed) // 2])).message
    assert "it ends in the middle" in refused(SourceCorrupt, write("b.jsonl", packed[:-3])).message
    assert "incorrect data check" in refused(SourceCorrupt, write("c.jsonl", bytes(altered))).message
    refused(SourceCorrupt, write("d.jsonl", bytes(middle)))
    refused(SourceCorrupt, write("e.jsonl", packed + b"trailing"))
    path = write("f.jsonl", lines({"sku": "1", "title": "a"}))
    assert "does not begin like gzip" in refused(SourceCorrupt, path.rename(path.with_suffix(".jsonl.gz"))).message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", ""),
        ("a.jsonl", "\n \n"),
        ("a.jsonl.gz", ""),
        ("a.csv", ""),
        ("a.csv", "sku,title\n"),
        ("a.csv", "\n\n"),
    ],
)
def test_a_file_without_rows_is_empty(write, name, content):
    refused(SourceEmpty, write(name, content))


def test_a_json_array_is_answered_with_jq(write):
    for content in (json.dumps([{"sku": "1"}]), json.dumps([{"sku": "1"}, {"sku": "2"}], indent=2)):
        error = refused(SourceFormat, write("a.json", content))
        assert "jq -c '.[]'" in error.hint


def test_a_file_of_another_format_is_refused(write, tmp_path):
    assert "cannot be read" in refused(SourceFormat, write("a.jsonl", "sku,title\n1,a\n2,b\n")).message
    assert "cannot be read" in refused(SourceFormat, write("b.jsonl", json.dumps({"sku": "1"}, indent=2))).message
    assert "begins like JSON" in refused(SourceFormat, write("c.csv", lines({"sku": "1"}))).message
    assert "begins like HTML" in refused(SourceFormat, write("d.csv", "<html><body>login</body></html>")).message
    assert "ZIP" in refused(SourceFormat, write("e.csv", b"PK\x03\x04rest")).message
    assert "is not Parquet" in refused(SourceFormat, write("f.parquet", "sku,title\n1,a\n")).message
    pl.DataFrame({"sku": ["1"], "title": ["a"]}).write_parquet(tmp_path / "g.csv")
    assert "it is Parquet" in refused(SourceFormat, tmp_path / "g.csv").message
    assert "does not say" in refused(SourceFormat, write("h.dat", "sku,title\n1,a\n")).message
    declared = SHOP.model_copy(update={"source": SHOP.source.model_copy(update={"format": "csv"})})
    assert Read(write("h.dat", "sku,title\n1,a\n"), declared).frame.height == 1


def test_a_file_that_is_not_utf8_is_refused_as_a_whole(write):
    text = lines(*({"sku": str(n), "title": "café"} for n in range(40)))
    assert "40 of 40 lines" in refused(SourceEncoding, write("a.jsonl", text.encode("latin-1"))).message
    refused(SourceEncoding, write("b.jsonl", text.encode("utf-16")))
    refused(SourceEncoding, write("c.csv", "sku,title\n1,café\n2,cafés\n".encode("utf-16-le")))
    refused(SourceEncoding, write("d.csv", "sku,title\n1,café\n2,cafés\n".encode("latin-1")))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_missing_column_is_named_with_the_closest(write, tmp_path, name):
    frame = pl.DataFrame({"sku": ["1"], "titel": ["a"], "aisel": ["x"]})
    path = tmp_path / name
    {"a.jsonl": frame.write_ndjson, "a.csv": frame.write_csv, "a.parquet": frame.write_parquet}[name](path)
    error = refused(ColumnMissing, path)
    assert "'title'" in error.message
    assert "did you mean titel?" in error.hint
    frame = frame.rename({"titel": "title"})
    {"a.jsonl": frame.write_ndjson, "a.csv": frame.write_csv, "a.parquet": frame.write_parquet}[name](path)
    assert "'aisel'" in refused(ColumnMissing, path).message, "a mistyped label column is no missing one"
    assert "aisel" in refused(ColumnMissing, path, need_label=True).hint
    known = SHOP.model_copy(update={"forbidden": ["aisel"]})
    assert Read(path, known).frame["aisle"].to_list() == [None], "a label may be missing unless it is needed"
    assert Read(path, known).batches[-1].unlabelled == ("aisle",)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
@pytest.mark.parametrize("there", [["l1"], ["l2"], ["l1", "l3"]])
def test_a_file_has_all_columns_of_a_label_path_or_none(tmp_path, name, there):
    given = SHOP.model_dump(exclude_unset=True) | {"label": {"columns": ["l1", "l2", "l3"]}}
    spec = CatalogSpec.model_validate(given)
    path = tmp_path / name
    write = {"a.jsonl": pl.DataFrame.write_ndjson, "a.csv": pl.DataFrame.write_csv}
    for columns in (there, [], ["l1", "l2", "l3"]):
        frame = pl.DataFrame({"sku": ["1"], "title": ["a"], **{column: ["x"] for column in columns}})
        write.get(name, pl.DataFrame.write_parquet)(frame, path)
        if columns != there:
            assert len(Read(path, spec).batches[-1].unlabelled) == 3 - len(columns)
            continue
        error = refused(ColumnMissing, path, spec)
        assert [column for column in ("l1", "l2", "l3") if f"'{column}'" not in error.message] == there
        assert error.hint == "give all columns of the label (l1, l2, l3) or none of them"


def test_a_label_that_comes_late_in_a_file_is_there(write):
    text = lines(*({"sku": str(n), "title": "t"} for n in range(30)), {"sku": "x", "title": "t", "aisle": "shoes"})
    got = Read(write("a.jsonl", text), batch_rows=10, need_label=True)
    assert got.read == 31
    assert got.batches[-1].unlabelled == ()


def test_a_column_that_differs_in_case_only_is_named_first(write):
    assert refused(ColumnMissing, write("a.csv", "SKU,title,sku2,skuu\n1,a,b,c\n")).hint == "did you mean SKU?"


@pytest.mark.parametrize(
    ("line", "said"), [('{"sku": "1', "starting at column 9"), ('{"sku" 1}', "delimiter at column 8")]
)
def test_what_is_wrong_with_a_line_of_json_is_a_sentence(write, line, said):
    got = Read(write("a.jsonl", lines({"sku": "1", "title": "t"}) + line + "\n"))
    assert got.reasons[2].endswith(said)


# --- Parquet ------------------------------------------------------------------------------------------------------


def test_parquet_columns_of_any_type_become_text(write, tmp_path):
    frame = pl.DataFrame(
        {
            "sku": [1, 2, 3],
            "title": [["a", None, "b"], [], None],
            "brand": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "related": ["r1", None, "r3"],
            "price": [12.5, 2011.0, float("nan")],
            " aisle ": [True, None, False],
            "binary": [b"\xff", b"", None],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    got = Read(tmp_path / "a.parquet", batch_rows=2)
    assert got.frame["source_row"].to_list() == [1, 2, 3]
    assert got.frame["sku"].to_list() == ["1", "2", "3"]
    assert got.frame["title"].to_list() == ["a b", "", None]
    assert got.frame["brand"].to_list() == ["x", "y", None]
    assert got.frame["related"].to_list() == [["r1"], None, ["r3"]]
    assert got.frame["price"].to_list() == ["12.5", "2011", None]
    assert got.frame["aisle"].to_list() == ["true", None, "false"]
    assert json.loads(got.frame["raw"][0])["title"] == ["a", None, "b"]


def test_parquet_bytes_that_are_text_are_read_and_kept_in_raw(tmp_path):
    frame = pl.DataFrame({"sku": [b"1", b"2"], "title": [b"caf\xc3\xa9", b"\xff"], "pictures": [[b"\x89PNG"], []]})
    path = tmp_path / "a.parquet"
    for columns in (["sku", "title"], ["sku", "title", "pictures"]):
        frame.select(columns).write_parquet(path)
        got = Read(path)
        assert got.frame["sku"].to_list() == ["1", "2"]
        assert got.frame["title"].to_list() == ["café", None]
        assert [json.loads(raw) for raw in got.frame["raw"]] == [
            {"sku": "1", "title": "café"},
            {"sku": "2", "title": None},
        ]
    frame.select(sku=pl.concat_list("sku"), title=pl.concat_list("title")).write_parquet(path)
    got = Read(path)
    assert got.frame["raw"].to_list() == ["{}", "{}"], "nothing in it can be written as JSON"
    assert got.frame["sku"].to_list() == [None, None]


def test_damaged_parquet_is_corrupt(tmp_path, home):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"sku": [str(n) for n in range(999)], "title": ["t"] * 999}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    refused(SourceCorrupt, path)
    pl.DataFrame(schema={"sku": pl.String, "title": pl.String}).write_parquet(path)
    refused(SourceEmpty, path)


# --- real files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exercise_train.tsv", "exercise_test.tsv"])
def test_asos_is_read_as_the_default_readers_do(shared_data, home, name):
    path = shared_data / "asos" / name
    got = Read(path, load("asos"))
    assert got.rejects.is_empty()
    by_pandas = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    by_polars = pl.read_csv(path, separator="\t", infer_schema=False)
    for column in ("name", "description", "productIdentifier"):
        assert got.frame[column].to_list() == by_pandas[column].to_list() == by_polars[column].to_list()
    products = normalise(got.frame, load("asos"), name)
    text = [f"{name};{text}" for name, text in products.select("name", "description").iter_rows()]
    assert text == (by_pandas["name"] + ";" + by_pandas["description"]).to_list()


def test_pricerunner_has_spaces_around_its_header_names(shared_data, home, tmp_path):
    toml = tmp_path / "pricerunner.toml"
    toml.write_text(
        'title = "PriceRunner"\nid = "product ID"\nkeep = ["Listing Date"]\n'
        '[label]\ncolumn = "Category Label"\naliases = {fridge = "Fridges", CPU = "CPUs"}\n'
        '[[fields]]\nname = "title"\ncolumn = "Product Title"\nkind = "text"\n'
    )
    spec = check(toml)
    got = Read(shared_data / "pricerunner" / "products_extended_35311.csv", spec, batch_rows=10_000, need_label=True)
    products = normalise(got.frame, spec, "p.csv")
    assert (got.read, got.rejects.height) == (35_311, 0)
    assert products["title"].null_count() == 172
    assert products["known_path"].null_count() == 44
    assert "CPU" not in products["known_path"].list.first().unique().to_list()


def test_elo7s_two_files_fit_one_catalogue(shared_data, home):
    spec = load("elo7")
    products = Read(shared_data / "elo7" / "products.csv", spec, need_label=True)
    test = Read(shared_data / "elo7" / "test_products.csv", spec)
    assert (products.read, test.read) == (23_990, 500)
    assert products.rejects.is_empty()
    assert test.rejects.is_empty()
    assert products.frame["concatenated_tags"].null_count() == 23_990
    assert test.frame["concatenated_tags"].null_count() == 0


@pytest.mark.parametrize(
    ("catalog", "path", "rows"),
    [
        ("newsgroups", "newsgroups/train.jsonl.gz", 3_441),
        ("newsgroups", "newsgroups/test.jsonl.gz", 2_289),
        ("gpc", "mwpd_gpc/train.jsonl.gz", 10_012),
        ("myntra", "myntra/styles.csv", 35_084),
        ("amazon_india", "amazon_india/products.parquet", 82_271),
        ("amazon", "amazon2018/meta_Magazine_Subscriptions.json.gz", 3_385),
    ],
)
def test_every_row_of_the_real_sets_is_read(shared_data, home, catalog, path, rows):
    got = Read(shared_data / path, load(catalog), batch_rows=7_000, need_label=True)
    assert (got.read, got.frame.height) == (rows, rows)
