"""Labels of people on label paths, through training and the API: what the next model learns, and what is served."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from aisle.cli import run
from core.settings import get_settings
from tasks.split_rows import split_rows
from tests.api_server import running
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

TOML = """
title = "A market"
id = "sku"
keep = ["why"]

[label]
columns = ["main", "sub"]

[[fields]]
name = "title"
kind = "text"

[[fields]]
name = "tags"
kind = "ids"
"""
WORDS = {
    ("Kitchen", "Pans"): "skillet wok griddle casserole",
    ("Kitchen", "Knives"): "cleaver paring slicer whetstone",
    ("Garden", "Tools"): "spade rake trowel secateurs",
}
GLOBES = "globe meridian continents rotating"
NEW = "Study > Globes"
"""A label that nobody has taught: globes come without one."""


def products() -> Iterator[dict[str, str]]:
    dice = Random(0)
    for number in range(420):
        path, words = dice.choice(list(WORDS.items()))
        known = number < 360
        title = " ".join([*dice.sample((words if known else GLOBES).split(), 2), f"no{number}"])
        yield {
            "sku": f"00{number}",
            "title": f"=1+1 {title}\nsecond line",
            "tags": "new,sale",
            "why": "overstock",
            **dict(zip(("main", "sub"), path if known else ("", ""), strict=True)),
        }


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which such products were run; gives a folder for files."""
    folder = tmp_path_factory.mktemp("market")
    (folder / "catalogs").mkdir()
    (folder / "catalogs" / "market.toml").write_text(TOML)
    with (folder / "market.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["sku", "title", "tags", "main", "sub", "why"])
        writer.writeheader()
        writer.writerows(products())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AISLE_HOME", str(folder / "var"))
        environment.setenv("AISLE_CATALOGS", str(folder / "catalogs"))
        get_settings.cache_clear()
        assert run(["run", "market", str(folder / "market.csv")]) == 0
        yield folder
    get_settings.cache_clear()


def ask(sql: str) -> list[dict[str, Any]]:
    return query(get_home(), sql).as_dicts()


def digest_of_training() -> str:
    with open_run("market", "train") as under_way:
        found: str = split_rows(under_way.run_id, None, None).data_digest
    return found


def written(market: Path, rows: dict[str, str], name: str = "labels.jsonl") -> str:
    lines = (json.dumps({"catalog": "market", "product_id": key, "label": label}) for key, label in rows.items())
    (market / name).write_text("\n".join(lines))
    return str(market / name)


def test_a_spreadsheet_runs_no_formula_of_a_seller_and_shows_one_line_a_product(market: Path, aisle: Any) -> None:
    assert aisle("review", "export", "market", "--out", str(market / "a.csv"), "--most", "50")[0] == 0
    lines = (market / "a.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 51
    row = next(csv.DictReader(lines))
    assert row["title"].startswith("'=1+1 ")
    assert row["title"].endswith(" second line")
    assert row["product_id"].startswith("00")
    assert (row["tags"], row["why"], row["product_why"]) == ("new, sale", "", "overstock")
    assert aisle("review", "export", "market", "--out", str(market / "a.jsonl"), "--most", "50")[0] == 0
    as_stored = pl.read_ndjson(market / "a.jsonl")["title"][0]
    assert as_stored.startswith("=1+1 ")
    assert "\n" in as_stored


def test_the_same_home_and_seed_give_the_same_file(market: Path, aisle: Any) -> None:
    for name in ("b.csv", "c.csv"):
        assert aisle("review", "export", "market", "--out", str(market / name), "--most", "20")[0] == 0
    assert (market / "b.csv").read_bytes() == (market / "c.csv").read_bytes()


def test_unlabelled_products_that_the_model_has_not_met_come_first(market: Path, aisle: Any) -> None:
    assert aisle("review", "export", "market", "--out", str(market / "d.jsonl"), "--most", "60")[0] == 0
    rows = pl.read_ndjson(market / "d.jsonl", infer_schema_length=None)
    assert rows["known_label"].null_count() == 60
    assert rows["title"].str.contains("globe|meridian|continents|rotating").all()


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Kitchen > Knifes", "did you mean Kitchen > Knives"),
        ("Kitchen>Pans", "did you mean Kitchen > Pans"),
        ("Kitchen", "the path goes on below it, for example Kitchen > Knives"),
        ("Kitchen > Pans > Woks", "a path has the levels main, sub"),
    ],
)
def test_a_path_is_written_as_the_views_show_it(market: Path, aisle: Any, label: str, said: str) -> None:
    code, _, err = aisle("review", "import", written(market, {"000": label}))
    assert (code, said in err) == (1, True)


def test_labels_are_shown_at_once_and_train_the_next_model(market: Path, aisle: Any, tmp_path: Path) -> None:
    globes = [row["product_id"] for row in ask("SELECT product_id FROM products WHERE known_label IS NULL ORDER BY 1")]
    before = digest_of_training()
    taught, rest = globes[:40], globes[40:]
    code, _, err = aisle(
        "review", "import", written(market, dict.fromkeys(taught, NEW)), "--by", "anna", "--new-labels"
    )
    assert code == 0, err
    assert digest_of_training() != before

    with running(get_home().root, tmp_path / "log", catalogs=str(market / "catalogs")) as server:
        shown = server.client.get(f"/v1/catalogs/market/predictions/{taught[0]}").json()
    assert (shown["label"], shown["label_path"], shown["decided_by"], shown["decision"]) == (
        NEW,
        ["Study", "Globes"],
        "person",
        "accepted",
    )
    of_rest = f"SELECT label, decided_by, count(*) AS n FROM predictions WHERE product_id IN {tuple(rest)} GROUP BY ALL"
    assert all(row["label"] != NEW for row in ask(of_rest))

    assert aisle("train", "market", "--promote")[0] == 0
    assert aisle("score", "market")[0] == 0
    assert ask(of_rest) == [{"label": NEW, "decided_by": "model", "n": len(rest)}]
    [model] = ask("SELECT rows + holdout_rows AS labelled FROM models WHERE status = 'champion'")
    assert model["labelled"] == 400


def test_a_persons_other_label_is_other_training_data(market: Path, aisle: Any) -> None:
    before = digest_of_training()
    relabelled = written(market, {f"00{number}": "Garden > Tools" for number in range(9)}, "other.jsonl")
    assert aisle("review", "import", relabelled)[0] == 0
    after = digest_of_training()
    assert after != before
    assert aisle("review", "import", relabelled)[0] == 0
    assert digest_of_training() == after
