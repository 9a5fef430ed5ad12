"""CSV and TSV: every record is read or rejected, whatever its quotes, widths and header."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ColumnMissing, SourceEncoding, SourceFormat
from tests.reading import SHOP, Read, refused


def test_csv_records_keep_their_first_line_and_raw_text(write):
    text = 'sku,title\n1,"a\nb ""c"""\n\n2,plain\n'
    got = Read(write("a.csv", text.replace("\n", "\r\n")))
    assert got.frame["source_row"].to_list() == [2, 5]
    assert got.frame["title"].to_list() == ['a\nb "c"', "plain"]
    assert got.frame["raw"].to_list() == ['1,"a\nb ""c"""', "2,plain"]


def test_header_names_may_have_spaces_and_a_bom(write):
    got = Read(write("a.tsv", "\ufeff sku \t title\tcolour, \n1\ta\tx\n"))
    assert got.frame["sku"].to_list() == ["1"]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 1000])
def test_a_quote_that_is_never_closed_costs_its_own_line(write, batch_rows):
    text = 'sku,title\n1,"never closed\n2,fine\n3,"also ""fine"""\n4,"two\nlines"\n5,5" disc\n6,"open at the end\n'
    got = Read(write("a.csv", text), batch_rows=batch_rows)
    assert got.frame["sku"].to_list() == ["2", "3", "4", "5"]
    assert got.frame["title"].to_list() == ["fine", 'also "fine"', "two\nlines", '5" disc']
    assert got.reasons == {2: "a quote is opened and never closed", 8: "a quote is opened and never closed"}
    assert got.rejects["raw"].to_list() == ['1,"never closed', '6,"open at the end']


def test_many_open_quotes_do_not_take_forever(write):
    text = "sku,title\n" + '1,"open\n' * 300 + "2,fine\n" * 20_000
    got = Read(write("a.csv", text), batch_rows=50_000)
    assert (got.frame.height, got.rejects.height) == (20_000, 300)


def test_a_row_of_another_width_is_rejected_with_both_widths(write):
    got = Read(write("a.csv", "sku,title\n1,a\n2\n3,c,d\n4,\n5,e\n"))
    assert got.frame["sku"].to_list() == ["1", "4", "5"]
    assert got.reasons == {3: "1 cells where the header has 2", 4: "3 cells where the header has 2"}


def test_a_damaged_line_inside_a_record_rejects_the_record(write):
    text = b'sku,title\n1,a\n2,"caf\xe9\nmore"\n' + b"3,c\n" * 200
    got = Read(write("a.csv", text))
    assert got.frame.height == 201
    assert list(got.reasons) == [3]
    assert "not UTF-8" in got.reasons[3]


def test_a_header_with_another_separator_is_recognised(write):
    error = refused(ColumnMissing, write("a.csv", "sku\ttitle\n1\ta\n"))
    assert "tabs" in error.message
    declared = SHOP.model_copy(update={"source": SHOP.source.model_copy(update={"separator": ";"})})
    assert Read(write("b.csv", "sku;title\n1;a,b\n"), declared).frame["title"].to_list() == ["a,b"]


def test_a_needed_column_that_stands_twice_is_refused(write):
    assert "2 times" in refused(SourceFormat, write("a.csv", "sku,title,title\n1,a,b\n")).message


def test_lists_in_cells_are_json_or_python_or_separated(write):
    cells = ['"[""a"", ""b""]"', "\"['a', 'b']\"", '"a,b"', "a", "", "[broken"]
    got = Read(write("a.csv", "sku,title,related\n" + "".join(f"1,t,{cell}\n" for cell in cells)))
    assert got.frame["related"].to_list() == [["a", "b"], ["a", "b"], ["a", "b"], ["a"], [""], ["[broken"]]


CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS | st.just('"\n,"'), CELLS), min_size=1, max_size=12), st.integers(1, 5))
def test_whatever_csv_writes_is_read_back_in_batches_of_any_size(write, rows, batch_rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("sku", "title", "aisle"), *rows])
    got = Read(write("a.csv", out.getvalue()), batch_rows=batch_rows)
    assert got.rejects.is_empty()
    assert got.frame.select("sku", "title", "aisle").rows() == rows
    raws = list(csv.reader(io.StringIO("\n".join(got.frame["raw"]))))
    assert [tuple(row) for row in raws] == rows


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n", SourceFormat, "a PNG image"),
        (b"\x93odd\n1,a\n", SourceEncoding, "the header is not UTF-8"),
        ("sku,title,größe\n1,a,b\n".encode("latin-1"), SourceEncoding, "the header is not UTF-8"),
        (b"sku,ti\x01tle\n1,a\n", SourceFormat, "control characters"),
    ],
)
def test_a_header_of_other_bytes_than_text_is_refused_in_words_that_can_be_written(write, content, kind, said):
    error = refused(kind, write("a.csv", content))
    assert said in error.message
    assert str(error).encode()
