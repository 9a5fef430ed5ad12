"""Exactly once: whatever is run again, at the same time, or after it was killed, there is one result."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalogs import registry
from catalogs.demo import generate
from core.settings import get_settings
from tests.killing import end, run, seen, start
from tests.stored import SHELVES
from warehouse.home import get_home
from warehouse.query import query

ROWS = 150
ROUNDS = 10


@pytest.fixture
def catalogs(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of own catalogues: `other` is the demo shop by another name."""
    folder = tmp_path / "catalogs"
    folder.mkdir()
    (folder / "other.toml").write_text((registry.BUILTIN / "demo.toml").read_text())
    monkeypatch.setenv("AISLE_CATALOGS", str(folder))
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


def asked(sql: str) -> list[tuple[Any, ...]]:
    return query(get_home(), sql).rows


def test_two_runs_of_one_catalogue_at_once_give_one_result(home: Path, tmp_path: Path, catalogs: Path) -> None:
    night = ["nightly", "demo", [str(generate(tmp_path / "days", 2 * ROWS))]]
    assert run(tmp_path / "alone", night, tmp_path / "told.json").error == ""
    alone = seen(tmp_path / "alone")
    assert alone
    told = [tmp_path / f"told-{i}.json" for i in range(2)]
    for ended in [end(process, file) for process, file in [(start(home, night, file), file) for file in told]]:
        assert (ended.code, ended.error) == (0, "")
    now = seen(home)
    assert now
    assert all(now[view] == alone[view] for view in ("products", "predictions", "history"))
    assert asked("SELECT model_version FROM models") == [("v1",)], "the second found a champion"
    assert asked("SELECT count(*), count(DISTINCT product_id) FROM products")[0] == tuple(now["predictions"][0][:1] * 2)
    assert asked("SELECT bool_and(balanced), count(*) FROM conservation") == [(True, 2)]
    assert asked("SELECT stored FROM runs WHERE stored > 0") == [(now["products"][0][0],)]


def test_two_catalogues_at_once_both_succeed_ten_times_out_of_ten(home: Path, tmp_path: Path, catalogs: Path) -> None:
    for day in range(ROUNDS):
        source = str(generate(tmp_path / "days", ROWS, day=day))
        told = {name: tmp_path / f"{name}.json" for name in ("demo", "other")}
        both = {name: start(home, ["ingest", name, [source]], file) for name, file in told.items()}
        for name, process in both.items():
            ended = end(process, told[name])
            assert (ended.code, ended.error) == (0, ""), f"day {day}"
        counted = asked("SELECT catalog, count(*), sum(read) FROM runs GROUP BY ALL ORDER BY ALL")
        assert counted == [(name, day + 1, (day + 1) * ROWS) for name in ("demo", "other")]
    assert asked("SELECT bool_and(balanced), count(*) FROM conservation") == [(True, 2 * ROUNDS)]
    same = "SELECT product_id, row_hash FROM products WHERE catalog = '{}' ORDER BY 1"
    assert asked(same.format("demo")) == asked(same.format("other"))


def test_dated_files_are_taken_in_order_and_go_on_where_they_were_stopped(
    home: Path, tmp_path: Path, catalogs: Path, aisle: Any
) -> None:
    folder = tmp_path / "days"
    for day in (0, 1, 2):
        generate(folder, ROWS, day=day)
    once = run(tmp_path / "once", ["catch_up", "demo", [str(folder)]], tmp_path / "told.json")
    assert (once.code, once.error) == (0, "")
    wanted = seen(tmp_path / "once")
    told = tmp_path / "told.json"
    killed = run(home, ["catch_up", "demo", [str(folder)]], told, until="commit state: after (2)")
    assert killed.code == -signal.SIGKILL
    code, out, _ = aisle("ingest", "demo", str(folder), "--in-order", "--json")
    assert code == 0
    assert [Path(name).name for name in json.loads(out)["done"]] == ["demo-day-000.jsonl.gz"]
    assert [batch["rows"]["read"] for batch in json.loads(out)["batches"]] == [ROWS, ROWS]
    assert seen(home) == wanted
    assert len(asked("SELECT * FROM runs")) == 3
    generate(folder, ROWS, day=3)
    assert len(json.loads(aisle("ingest", "demo", str(folder), "--in-order", "--json")[1])["done"]) == 3
    assert "read before, by run" in aisle("ingest", "demo", str(folder), "--in-order")[1]
    assert aisle("ingest", "demo", "https://example.org/x.jsonl", "--in-order")[0] == 2


def test_a_correction_is_stored_and_scores_again_only_what_the_model_reads(
    home: Path, tmp_path: Path, catalogs: Path, aisle: Any
) -> None:
    shutil.copy(SHELVES / "shop.toml", catalogs)
    things = {"Shoes": ["boots", "sandals", "trainers"], "Lamps": ["lantern", "spotlight", "chandelier"]}
    rows = [
        [f"S{i}", f"{things[label][i % 3]} number {i}", f"{9 + i % 50}.90", "Acme", label]
        for i in range(300)
        for label in [list(things)[i % 2]]
    ]

    def ran() -> dict[str, int]:
        source = tmp_path / "products.csv"
        source.write_text("\n".join(",".join(row) for row in [["sku", "title", "price", "maker", "category"], *rows]))
        code, out, told = aisle("run", "shop", str(source), "--json")
        assert code == 0, told
        rows_of: dict[str, int] = json.loads(out)["rows"]
        return rows_of

    assert ran()["scored"] == 300
    rows[0][4], rows[1][3] = "Lamps", "Globex"  # a label, and a column that is kept and not read
    corrected = ran()
    assert (corrected["unchanged"], corrected["scored"]) == (298, 0)
    assert asked("SELECT known_label FROM products WHERE product_id = 'S0'") == [("Lamps",)]
    assert asked("SELECT maker FROM products WHERE product_id = 'S1'") == [("Globex",)]
    rows[2][2], rows[3][1] = "12.50", "another lantern"  # what the model reads
    corrected = ran()
    assert (corrected["unchanged"], corrected["scored"]) == (298, 2)
    assert asked("SELECT price FROM products WHERE product_id = 'S2'") == [(12.5,)]
    assert asked("SELECT count(*) FROM predictions_history") == [(302,)]
    assert asked("SELECT count(*), bool_and(balanced) FROM conservation") == [(3, True)]


def price(folder: Path, name: str, value: float) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"sku,title,price,maker,category\nS1,boots,{value},Acme,Shoes\n")
    return folder


def test_a_dated_file_that_says_again_what_an_earlier_one_said_is_news(
    home: Path, tmp_path: Path, catalogs: Path, aisle: Any
) -> None:
    shutil.copy(SHELVES / "shop.toml", catalogs)
    days = tmp_path / "days"

    def taken() -> tuple[list[str], float]:
        code, out, told = aisle("ingest", "shop", str(days), "--in-order", "--json")
        assert code == 0, told
        [(now,)] = asked("SELECT price FROM products")
        return [Path(name).name for name in json.loads(out)["done"]], now

    price(days, "day-1.csv", 9.0)
    assert aisle("ingest", "shop", str(days / "day-1.csv"))[0] == 0
    price(days, "day-3.csv", 9.0)
    assert taken() == (["day-1.csv"], 9.0)
    price(days, "day-2.csv", 8.0)
    assert taken() == (["day-1.csv"], 9.0), "a late file, and again the one behind it"
    price(days, "day-4.csv", 8.0)
    assert taken() == (["day-1.csv", "day-2.csv", "day-3.csv"], 8.0)
    assert taken() == (["day-1.csv", "day-2.csv", "day-3.csv", "day-4.csv"], 8.0)
