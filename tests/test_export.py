"""An export is one file that stands alone, complete or not there, and replaces nothing unasked."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from aisle.cli import run
from core.errors import UsageError
from core.settings import get_settings
from tests import stored
from warehouse.export import Filters
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

PRODUCTS: list[stored.Row] = [
    ("3", "a long title, with a comma", None),
    ("1", "another long title?", "Books"),
    ("2", "short", "Toys"),
    ("0", "tiny", None),
]


@pytest.fixture
def shelf(shelves: Path) -> None:
    """Four predictions of the catalogue `shelf`; one of them, of confidence .5, is to be reviewed."""
    stored.night(PRODUCTS)


def export(*words: str | Path) -> int:
    return run(["export", "shelf", *map(str, words)])


def predictions() -> list[dict[str, Any]]:
    return query(get_home(), "SELECT * FROM predictions ORDER BY product_id").as_dicts()


def test_parquet_and_duckdb_hold_the_predictions_as_sql_has_them(shelf: None, home: Path, tmp_path: Path) -> None:
    expected = predictions()
    assert len(expected) == 4
    assert export("--out", tmp_path / "out.parquet") == 0
    assert export("--out", tmp_path / "out.duckdb") == 0
    home.rename(tmp_path / "gone")  # what was exported needs nothing of it
    assert pl.read_parquet(tmp_path / "out.parquet").sort("product_id").to_dicts() == expected
    with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        assert connection.execute("SELECT name FROM (SHOW TABLES)").fetchall() == [("predictions",)]
        assert connection.execute("SELECT * FROM predictions ORDER BY product_id").pl().to_dicts() == expected


def test_csv_holds_lists_as_json(shelf: None, tmp_path: Path) -> None:
    assert export("--out", tmp_path / "out.csv") == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["product_id"])
    assert [row["label"] for row in rows] == [row["label"] for row in predictions()]
    assert json.loads(rows[0]["label_path"]) == ["Toys"]
    assert json.loads(rows[0]["reasons"]) == [{"token": "t", "field": "title", "weight": 1.0}]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--decision", "accepted"], {"0", "2", "3"}),
        (["--decision", "review"], {"1"}),
        (["--label", "Toys"], {"0", "2"}),
        (["--label", "Toys", "--label", "Books"], {"0", "1", "2", "3"}),
        (["--min-confidence", "0.6", "--label", "Books"], {"3"}),
        (["--unlabelled"], {"0", "3"}),
    ],
)
def test_filters_choose_predictions(shelf: None, tmp_path: Path, filters: list[str], ids: set[str]) -> None:
    assert export("--out", tmp_path / "out.parquet", *filters) == 0
    assert set(pl.read_parquet(tmp_path / "out.parquet")["product_id"]) == ids


def test_a_label_that_no_answer_has_is_no_mistake_if_the_source_or_the_model_knows_it(
    shelves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.parquet"
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        stored.ingest(run, [("4", "tiny?", "Games > Chess")])
    assert export("--out", out, "--label", "Games") == 0
    assert export("--out", out, "--label", "Gamse", "--force") == 2
    assert "did you mean Games?" in capsys.readouterr().err
    stored.night([("5", "tiny", None)])
    assert export("--out", out, "--label", "Books", "--force") == 0
    assert pl.read_parquet(out).height == 0


def test_a_file_that_is_there_is_replaced_only_when_asked(
    shelf: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert export("--out", out) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert export("--out", out, "--force") == 0
    assert out.read_text().startswith("catalog,product_id")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.csv"]


@pytest.mark.parametrize("name", ["warehouse.duckdb", "home.json", "new.csv", "tables/new.csv"])
def test_no_file_of_the_home_is_replaced_and_none_is_put_there(
    shelf: None, home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert export("--out", home / name, "--format", "csv", "--force") == 2
    assert "AISLE_HOME" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.duckdb"])
def test_an_export_that_fails_leaves_what_was_there(shelf: None, home: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    for file in home.glob("tables/shelf/state/*.parquet"):
        file.unlink()
    assert export("--out", tmp_path / name, "--force") == 1
    assert (tmp_path / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


@pytest.mark.parametrize("left", [str(os.getpid()), "0" * 16], ids=["process", "token"])
def test_what_a_killed_export_left_is_in_nobodys_way(
    shelf: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    (tmp_path / f".out.duckdb.{left}").write_text("half an export")
    monkeypatch.setattr("secrets.token_hex", lambda _size: "0" * 16)
    assert export("--out", tmp_path / "out.duckdb") == 0
    with duckdb.connect(str(tmp_path / "out.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchall() == [(4,)]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--out", "out.csv", "--min-confidence", "nan"], 2, "--min-confidence"),
        (["--out", "out.xlsx"], 2, "give --format"),
        ([], 2, "name the file"),
        (["--out", "absent/out.csv"], 2, "no such folder"),
        (["--out", "out.csv", "--label", "toy"], 2, "did you mean Toys?"),
        (["--out", "out.csv", "--label", "Toys", "--label", "Books' OR true --"], 2, "no label 'Books' OR true"),
        (["--out", "out.csv", "--label", "Zebra"], 2, "SELECT DISTINCT label FROM policy"),
        (["--contract", "asos"], 2, "does not keep the contract"),
        (["--contract", "elo7"], 2, "has no file"),
        (["--contract", "asos", "--unlabelled"], 2, "a contract says itself"),
    ],
)
def test_what_cannot_be_exported_is_said(
    shelf: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(*words) == code
    assert said in capsys.readouterr().err
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("least", [float("nan"), float("inf")])
def test_a_confidence_that_is_no_number_never_becomes_sql(least: float) -> None:
    with pytest.raises(UsageError, match="is no confidence"):
        Filters(least=least)


def test_a_catalogue_of_which_nothing_is_stored_has_nothing_to_export(
    shelf: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "other", "--out", str(tmp_path / "out.csv"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "NothingPublished"


def test_the_contracts_file_is_named_by_the_contract_and_keeps_the_order_of_the_source(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    toml = (stored.SHELVES / "shelf.toml").read_text()
    (own / "shelf.toml").write_text(toml.replace('id = "id"', 'id = "id"\ncontract = "asos"'))
    monkeypatch.setenv("AISLE_CATALOGS", str(own))
    get_settings.cache_clear()
    stored.night(PRODUCTS)
    monkeypatch.chdir(tmp_path)
    assert export("--contract", "asos", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert (tmp_path / "predictions_test_text.csv").read_text() == "id,0\n3,Books\n0,Toys\n"
