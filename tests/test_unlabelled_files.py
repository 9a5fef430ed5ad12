"""Files without a label column, once there is a champion: noticed, said, and no label is lost to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.settings import get_settings
from tests.stored import SHELVES, crown
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

TOML = (SHELVES / "shop.toml").read_text()
LABELLED = (
    "sku,title,price,maker,category\n1,Red boots,9.90,Acme,Shoes\n2,Green lamp,FREE,Acme,Lamps\n3,Blue boots,1,Acme,\n"
)


@pytest.fixture(autouse=True)
def shop_with_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, aisle: Any) -> None:
    """The catalogue `shop` with three products, of which two have a label, and a champion."""
    (tmp_path / "catalogues").mkdir()
    (tmp_path / "catalogues" / "shop.toml").write_text(TOML)
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path / "catalogues"))
    get_settings.cache_clear()
    assert aisle("ingest", "shop", str(write("labelled.csv", LABELLED)))[0] == 0
    with open_run("shop", "train") as run:
        crown(run, "v1", "digest-1")


def stored() -> list[tuple[Any, ...]]:
    return query(get_home(), "SELECT product_id, title, known_label, row_hash FROM products ORDER BY product_id").rows


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_without_a_label_column_takes_no_stored_label_back(aisle: Any, tmp_path: Path, form: str):
    before = stored()
    frame = pl.DataFrame(
        {
            "sku": ["1", "2", "4"],
            "title": ["Red boots", "Green lamp with shade", "Pink boots"],
            "price": ["9.90", "FREE", "3"],
            "maker": ["Acme", "Acme", "Acme"],
        }
    )
    source = tmp_path / f"tomorrow.{form}"
    {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[form](source)
    result = json.loads(aisle("ingest", "shop", str(source), "--json")[1])
    assert {name: result["rows"][name] for name in ("stored", "unchanged")} == {"stored": 2, "unchanged": 1}
    assert result["warnings"]["category_no_column"] == 3
    assert result["meanings"]["category_no_column"].startswith("no column category: ")
    after = stored()
    assert after[0] == before[0]
    assert [row[:3] for row in after] == [
        ("1", "Red boots", "Shoes"),
        ("2", "Green lamp with shade", "Lamps"),
        ("3", "Blue boots", None),
        ("4", "Pink boots", None),
    ]
    again = json.loads(aisle("ingest", "shop", str(source), "--json")[1])
    assert again["rows"]["unchanged"] == 3
    _, out, _ = aisle("ingest", "shop", str(source))
    assert "3 rows: no column category: new products have no label, stored ones keep theirs" in out


def test_a_label_column_that_is_empty_does_take_a_label_back(aisle: Any, write: Any):
    assert aisle("ingest", "shop", str(write("a.csv", LABELLED.replace("Shoes", ""))))[0] == 0
    assert stored()[0][2] is None
    null = json.dumps({"sku": "2", "title": "Green lamp", "maker": "Acme", "category": None})
    assert aisle("ingest", "shop", str(write("a.jsonl", null + "\n")))[0] == 0
    assert stored()[1][2] is None


@pytest.mark.parametrize("name", ["categry", "Category", "categories"])
def test_a_mistyped_label_column_is_refused_with_a_champion_too(aisle: Any, write: Any, name: str):
    before = stored()
    source = write("a.csv", LABELLED.replace("category", name).replace("Red", "Dark red"))
    code, out, _ = aisle("ingest", "shop", str(source), "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (1, "ColumnMissing")
    assert f"no column 'category' in the header, but '{name}'" in told["message"]
    assert "forbidden" in told["hint"]
    assert stored() == before


HEAD, NO_LABEL = "sku,title,price,maker,category\n", "sku,title,price,maker\n"


def test_a_file_without_labels_keeps_those_of_a_file_before_it_in_the_same_ingest(aisle: Any, write: Any):
    b = str(write("b.csv", HEAD + "1,Red boots,9.90,Acme,Lamps\n2,Green lamp,FREE,Acme,\n5,Lamp,1,Acme,Lamps\n"))
    c = str(
        write("c.csv", NO_LABEL + "1,Red boots,9.90,Acme\n2,Lamp,1,Acme\n5,Lamp,2,Acme\n5,Lamp,2,Acme\n6,Hat,2,Acme\n")
    )
    d = str(write("d.csv", HEAD + "6,Hat,2,Acme,Hats\n"))
    assert aisle("ingest", "shop", b, c, d)[0] == 0
    together = stored()
    assert [row[:3] for row in together] == [
        ("1", "Red boots", "Lamps"),
        ("2", "Lamp", None),
        ("3", "Blue boots", None),
        ("5", "Lamp", "Lamps"),
        ("6", "Hat", "Hats"),
    ]
    for file in (b, c, d):
        result = json.loads(aisle("ingest", "shop", file, "--json")[1])
    assert stored() == together, "one by one they give the same, to the row's digest"
    assert result["rows"]["unchanged"] == 1


def test_before_there_is_a_model_a_file_without_labels_is_told_what_comes_first(aisle: Any, write: Any, tmp_path: Path):
    (tmp_path / "catalogues" / "new.toml").write_text(TOML)
    files = [str(write("a.csv", LABELLED)), str(write("b.csv", NO_LABEL + "4,Pink boots,3,Acme\n"))]
    code, out, _ = aisle("ingest", "new", *files, "--json")
    told = json.loads(out)
    assert (code, told["error"]) == (1, "ColumnMissing")
    assert told["where"].endswith("b.csv")
    assert "accepted once there is a model: ingest the labelled file by itself and train first" in told["hint"]
    other = str(write("c.csv", "sku,price,maker,category\n4,3,Acme,Shoes\n"))
    assert "model" not in json.loads(aisle("ingest", "new", other, "--json")[1])["hint"], "labels are not what it lacks"


def test_a_file_with_a_part_of_the_labels_path_cuts_no_stored_label(aisle: Any, write: Any, tmp_path: Path):
    path_toml = TOML.replace('column = "category"', 'columns = ["l1", "l2"]', 1)
    (tmp_path / "catalogues" / "deep.toml").write_text(path_toml)
    assert (
        aisle("ingest", "deep", str(write("a.csv", "sku,title,price,maker,l1,l2\n1,Boots,1,Acme,Shoes,Boots\n")))[0]
        == 0
    )
    with open_run("deep", "train") as run:
        crown(run, "v1", "digest-1")
    code, out, _ = aisle(
        "ingest", "deep", str(write("b.csv", "sku,title,price,maker,l1\n1,Boot,1,Acme,Shoes\n")), "--json"
    )
    told = json.loads(out)
    assert (code, told["error"]) == (1, "ColumnMissing")
    assert told["message"] == "no column 'l2' in the header, but others of the label"
    assert told["hint"] == "give all columns of the label (l1, l2) or none of them"
    assert aisle("ingest", "deep", str(write("c.csv", NO_LABEL + "1,Boot,1,Acme\n")))[0] == 0
    sql = "SELECT title, known_path FROM products WHERE catalog = 'deep'"
    assert query(get_home(), sql).rows == [("Boot", ["Shoes", "Boots"])]


def test_what_is_no_number_is_counted_in_the_summary_and_on_the_page(aisle: Any, write: Any):
    text = LABELLED + '4,Grey boots,"1.299,00",Acme,Shoes\n5,Pink boots,,Acme,Shoes\n'
    source = str(write("numbers.csv", text))
    result = json.loads(aisle("ingest", "shop", source, "--json")[1])
    assert result["warnings"] == {"price_not_a_number": 2}
    page = json.loads(Path(result["reports"]["validation"]).with_suffix(".json").read_text())
    assert {column["name"]: column["unread"] for column in page["columns"]} == {
        "sku": None,
        "category": None,
        "title": None,
        "price": 2,
        "maker": None,
    }
    assert "2 rows: price is not a number: stored without" in aisle("ingest", "shop", source)[1]
