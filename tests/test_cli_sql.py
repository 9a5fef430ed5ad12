"""`aisle sql`: what it prints, and what it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests import stored


@pytest.fixture
def shelf(shelves: Path) -> None:
    """A home with two predictions of the catalogue `shelf`."""
    stored.night([("1", "a long title", "Books"), ("2", "short", "Toys")])


def test_sql_prints_a_table_and_json(shelf: None, aisle: Any):
    sql = "SELECT product_id, label, confidence FROM predictions ORDER BY product_id"
    table = [
        "product_id  label  confidence",
        "──────────  ─────  ──────────",
        "1           Books         0.9",
        "2           Toys          0.9",
    ]
    assert aisle("sql", sql) == (0, "\n".join(table) + "\n", "")
    code, out, _ = aisle("sql", sql, "--json")
    assert code == 0
    assert json.loads(out)[0] == {"product_id": "1", "label": "Books", "confidence": 0.9}


def test_sql_json_holds_what_json_can_hold(home: Path, aisle: Any):
    aisle("publish")
    sql = (
        "SELECT 'NaN'::DOUBLE a, DATE '2026-01-02' b, [1, NULL] c, {'k': 1.5} d, 'é\n' e, "
        "170141183460469231731687303715884105727::HUGEINT f"
    )
    code, out, _ = aisle("sql", sql, "--json")
    assert code == 0
    assert json.loads(out) == [
        {"a": None, "b": "2026-01-02", "c": [1, None], "d": {"k": 1.5}, "e": "é\n", "f": 2**127 - 1}
    ]


def test_product_text_cannot_command_the_terminal(home: Path, aisle: Any):
    aisle("publish")
    _, out, _ = aisle("sql", "SELECT chr(27) || '[2J' || chr(7) || 'x\ny' AS title")
    assert out.splitlines()[2] == " [2J x y"


def test_a_long_answer_is_cut_on_screen_and_says_so(home: Path, aisle: Any):
    aisle("publish")
    _, out, err = aisle("sql", "SELECT * FROM range(1000)", "--rows", "10")
    assert len(out.splitlines()) == 12
    assert "990 more rows of 1,000" in err
    assert len(json.loads(aisle("sql", "SELECT * FROM range(1000)", "--json")[1])) == 1000


@pytest.mark.parametrize("sql", ["DROP VIEW predictions", "SELECT 1; SELECT 2", "SELECT * FROM '/etc/passwd'", "SELEC"])
def test_sql_only_reads(home: Path, aisle: Any, sql: str):
    aisle("publish")
    code, _, err = aisle("sql", sql)
    assert code == 1
    assert "error: sql: " in err


def test_an_empty_query_is_called_so_and_what_reads_may_run(home: Path, aisle: Any):
    aisle("publish")
    for sql in ("", " ", "/* nothing */", ";"):
        assert json.loads(aisle("sql", sql, "--json")[1])["message"] == "the query is empty"
    for sql in ("SHOW TABLES", "DESCRIBE predictions", "SUMMARIZE predictions", "EXPLAIN SELECT 1"):
        assert aisle("sql", sql)[0] == 0, sql


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN (SELECT 1)",
        "EXPLAIN ((SELECT 1)) UNION SELECT 2",
        "EXPLAIN /* c */ ANALYZE SELECT 1",
        "EXPLAIN -- é\n ANALYZE SELECT 1 -- done",
        "EXPLAIN (FORMAT json) SELECT 1",
        "EXPLAIN (ANALYZE, /* ) */ FORMAT json) (SELECT 1)",
        "/* /* nested */ */ EXPLAIN ANALYZE FROM range(3)",
    ],
)
def test_what_only_reads_may_be_explained(home: Path, aisle: Any, sql: str):
    aisle("publish")
    assert aisle("sql", sql)[0] == 0


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
        "EXPLAIN /* c */ ANALYZE /* d */ COPY (SELECT 1) TO '{out}'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{out}'",
        "EXPLAIN (FORMAT json, ANALYZE) COPY (SELECT 1) TO '{out}'",
        "EXPLAIN (\"analyze\") COPY (SELECT 1) TO '{out}'",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
        "EXPLAIN ANALYZE PREPARE p AS SELECT 1",
        "EXPLAIN ANALYZE EXECUTE p",
        "EXPLAIN\u00a0ANALYZE COPY (SELECT 1) TO '{out}'",
        # Comments nest: what stands in the outer one is no SELECT.
        "/* /* */ explain select 1 -- */ explain analyze copy (select 1) to '{out}'",
        "EXPLAIN /* /* */ ANALYZE SELECT 1 -- */ ANALYZE COPY (SELECT 1) TO '{out}'",
        "EXPLAIN (ANALYZE /* /* */ ) SELECT 1 -- */ ) COPY (SELECT 1) TO '{out}'",
        "EXPLAIN (SELECT 1) COPY (SELECT 1) TO '{out}'",
    ],
)
def test_what_does_more_than_read_cannot_hide_behind_explain(home: Path, aisle: Any, sql: str):
    aisle("publish")
    out = home / "out.csv"
    code, printed, _ = aisle("sql", sql.replace("{out}", str(out)), "--json")
    assert (code, json.loads(printed)["error"]) == (1, "QueryRefused")
    assert not out.exists()


def test_sql_is_read_from_stdin(home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch):
    aisle("publish")
    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT 42 AS answer"))
    assert json.loads(aisle("sql", "-", "--json")[1]) == [{"answer": 42}]
