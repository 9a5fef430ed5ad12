"""Every row of a source ends in exactly one place, whatever is wrong with it: proven in SQL on generated files."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ColumnMissing, SourceEmpty, SourceEncoding, SourceFormat
from core.settings import get_settings
from tasks.find_source import find_source
from tasks.read_file import read_file
from tasks.store_rows import store_rows
from tests.stored import LengthModel, crown, models, score
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

TOML = """
title = "Shelf"
id = "id"
load = "{load}"
max_vanished = 1.0

[label]
column = "aisle"
allowed = ["Books", "Toys"]
ignored = ["Gifts"]

[[fields]]
name = "title"
kind = "text"
html = true

[[expectations]]
column = "title"
rule = "length_between"
max = 60
severity = "reject"
reason = "the title is too long"
"""

WHOLE_FILE = (SourceFormat, SourceEncoding, ColumnMissing, SourceEmpty)
"""What may be said of a file as a whole; then none of it is taken."""

IDS = st.sampled_from(["1", "2", "3", "4", "", " ", "é", "0001", "1 "])
TITLES = st.one_of(
    st.sampled_from(["ball", "a longer title?", "", "   ", "&amp; more", "x" * 61, "<b>bold</b>", "tab\there", "\x00"]),
    st.text(max_size=20),
)
LABELS = st.sampled_from(["Books", "Toys", "Gifts", "Cars", "", None, "<span>Books</span>", "books"])
PRODUCT = st.fixed_dictionaries({"id": IDS, "title": TITLES, "aisle": LABELS})
WORDS = st.lists(st.text(max_size=3), max_size=3)
ODD = st.one_of(
    st.fixed_dictionaries({"id": st.integers() | st.none() | WORDS, "title": TITLES}),
    st.fixed_dictionaries({"id": IDS, "title": WORDS | st.floats(), "aisle": LABELS}),
    st.fixed_dictionaries({"id": IDS}),
    st.lists(st.integers(), max_size=2),
    st.none() | st.booleans() | st.text(max_size=5),
)
BROKEN = [b"", b"  ", b"{", b"null", b"\xff\xfe{}", b'{"id": "1", "id": "2", "title": "twice"}', b"not JSON"]
JSON_LINE = st.one_of(
    PRODUCT.map(lambda row: json.dumps(row).encode()),
    PRODUCT.map(lambda row: json.dumps(row).encode()),
    PRODUCT.map(lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")),
    PRODUCT.map(lambda row: json.dumps(row).encode()[:-1]),  # cut off
    PRODUCT.map(lambda row: json.dumps(row).encode() * 2),
    ODD.map(lambda row: json.dumps(row).encode()),
    st.sampled_from(BROKEN),
)


def as_cells(row: dict[str, Any], *more: str) -> bytes:
    cells = [str(value or "").replace('"', "") for value in row.values()]
    return ",".join(f'"{" ".join(cell.split())}"' for cell in [*cells, *more]).encode("utf-8", "replace")


CSV_LINE = st.one_of(
    PRODUCT.map(as_cells),
    PRODUCT.map(as_cells),
    PRODUCT.map(lambda row: as_cells(row, "a cell too many")),
    PRODUCT.map(lambda row: as_cells(row).rpartition(b",")[0]),
    st.sampled_from([b"", b"5", b'5,stray " quote,Toys', b"5,\xff\xfe,Toys", b",,", b"5,a,Toys,", b"6, ball ,Books"]),
)
FILE = st.one_of(
    st.tuples(st.just(kind), st.lists(line, max_size=25), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
    for kind, line in (("jsonl", JSON_LINE), ("csv", CSV_LINE))
)
DAY = st.tuples(st.lists(FILE, min_size=1, max_size=3), st.booleans())


PLAIN = 30
"""Rows without a fault in each file: one that is mostly broken would be refused as a whole."""


def write(folder: Path, number: int, kind: str, lines: list[bytes], newline: bytes, packed: bool) -> Path:
    plain = [{"id": f"plain-{i}", "title": f"plain {number}", "aisle": "Toys"} for i in range(PLAIN)]
    if kind == "csv":
        content = newline.join([b"id,title,aisle", *map(as_cells, plain), *lines])
    else:
        content = newline.join([*(json.dumps(row).encode() for row in plain), *lines])
    path = folder / f"{number}.{kind}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def rows_in(files: list[Path]) -> int:
    """Lines that are not blank, and no header, counted without any of our code."""
    rows = 0
    for file in files:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        rows += sum(bool(line.strip(b" \t\r")) for line in content.split(b"\n")) - (".csv" in file.name)
    return rows


def ingest(files: list[Path], scored: bool) -> None:
    with open_run("shelf", "ingest", [str(file) for file in files]) as run:
        if models.champion(run) is None:
            crown(run, "v1", "digest-1")
        store_rows(run.run_id, read_file.each(find_source(run.run_id), shared=run.staging))
        if scored:
            score(run, LengthModel())


def prove(home: Path, load: str, days: list[Any]) -> None:
    folder = home.parent / "sources"
    for path in (home, folder):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    (home.parent / "catalogs" / "shelf.toml").write_text(TOML.format(load=load))
    expected = []
    for day, (contents, scored) in enumerate(days):
        (folder / str(day)).mkdir()
        files = [write(folder / str(day), i, *content) for i, content in enumerate(contents)]
        try:
            ingest(files, scored)
        except WHOLE_FILE:
            continue  # nothing of that day was taken, and nothing may be counted
        expected.append(rows_in(files))
    if not expected:
        return
    rows = query(get_home(), "SELECT * EXCLUDE (catalog, run_id) FROM conservation").as_dicts()
    assert [row["read"] for row in rows] == expected
    places = ("accepted", "review", "pending", "rejected", "repeated", "unchanged")
    for row in rows:
        assert row["balanced"]
        assert sum(row[place] for place in places) == row["read"]
        assert min(row[place] for place in places) >= 0
    check_sums(rows)


def check_sums(rows: list[dict[str, Any]]) -> None:
    """The places are not only equal in number: what was rejected, stored and said is there, once each."""
    [(rejected, unexplained)] = asked("SELECT count(*), count(*) FILTER (len(reasons) = 0) FROM rejects")
    assert rejected == sum(row["rejected"] for row in rows)
    assert unexplained == 0
    assert asked("SELECT count(*) = count(DISTINCT product_id) FROM products") == [(True,)]
    assert asked("SELECT count(*) FROM predictions ANTI JOIN products USING (product_id)") == [(0,)]
    stored = sum(row["accepted"] + row["review"] + row["pending"] for row in rows)
    assert asked("SELECT sum(stored) FROM runs WHERE read IS NOT NULL") == [(stored,)]
    [(conflicts,)] = asked("SELECT count(*) FROM conflicts")
    assert conflicts <= sum(row["repeated"] for row in rows)


def asked(sql: str) -> list[tuple[Any, ...]]:
    return query(get_home(), sql).rows


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (home.parent / "catalogs").mkdir()
    monkeypatch.setenv("AISLE_CATALOGS", str(home.parent / "catalogs"))
    get_settings.cache_clear()
    yield home
    get_settings.cache_clear()


QUIETLY = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@settings(max_examples=12, **QUIETLY)
@given(load=st.sampled_from(["changes", "snapshot"]), days=st.lists(DAY, min_size=1, max_size=3))
def test_every_row_ends_in_one_place_whatever_is_wrong_with_it(folder: Path, load: str, days: list[Any]) -> None:
    prove(folder, load, days)


@pytest.mark.slow
@settings(max_examples=150, **QUIETLY)
@given(load=st.sampled_from(["changes", "snapshot"]), days=st.lists(DAY, min_size=1, max_size=4))
def test_every_row_ends_in_one_place_in_many_more_files(folder: Path, load: str, days: list[Any]) -> None:
    prove(folder, load, days)
