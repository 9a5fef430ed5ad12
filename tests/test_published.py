"""What is published: whole runs of every catalogue, and nobody's damage is another one's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import warehouse.past
import warehouse.publish
from core.errors import RunLocked, TableDamaged
from core.settings import get_settings
from tests.conftest import PROJECT
from tests.stored import frame, ingest, night, spec
from warehouse.home import get_home
from warehouse.ingest import Stage, Staged, staged_folder, store
from warehouse.locks import locked
from warehouse.publish import publish
from warehouse.query import query
from warehouse.runs import finish, open_run

ROWS = [("1", "abacus", "Books"), ("2", "ball", "Toys")]

pytestmark = pytest.mark.usefixtures("shelves")


def asked(sql: str, then: datetime | None = None) -> list[tuple[Any, ...]]:
    return query(get_home(), sql, then).rows


def before_shelf(monkeypatch: pytest.MonkeyPatch, module: Any, work: Callable[[], None]) -> None:
    """Have something happen just before the tables of shelf are read, at versions that are known by then."""
    read = module.parts_of

    def watched(*what: Any) -> Any:
        if "shelf" in what:
            monkeypatch.setattr(module, "parts_of", read)
            work()
        return read(*what)

    monkeypatch.setattr(module, "parts_of", watched)


@pytest.mark.parametrize("reads", ["a publish", "the past"])
def test_a_run_that_is_recorded_while_another_reads_is_seen_whole_or_not_at_all(
    home: Path, monkeypatch: pytest.MonkeyPatch, reads: str
) -> None:
    night([("0", "before", None)])
    with open_run("other", "ingest", ["b"]) as run:
        ingest(run, ROWS)
    known = asked("SELECT * FROM conservation ORDER BY ALL")
    with open_run("shelf", "ingest", ["x"]) as run:
        ingest(run, [("8", "not yet", None), ("9", "nor this", None)])
        if reads == "a publish":
            before_shelf(monkeypatch, warehouse.publish, run.record)
            publish(get_home())
            then = None
        else:
            before_shelf(monkeypatch, warehouse.past, run.record)
            then = datetime.now(UTC) + timedelta(days=1)
        assert asked("SELECT * FROM conservation ORDER BY ALL", then) == known
        assert run.recorded
    assert asked("SELECT count(*), bool_and(balanced) FROM conservation") == [(3, True)]


def lose_data(home: Path) -> None:
    for file in (home / "tables" / "other" / "products").glob("*.parquet"):
        file.unlink()


def lose_state(home: Path) -> None:
    for file in (home / "tables" / "other" / "state").glob("*.parquet"):
        file.unlink()


def cut_log(home: Path) -> None:
    newest = max((home / "tables" / "other" / "runs" / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-40])


def lose_runs(home: Path) -> None:
    shutil.rmtree(home / "tables" / "other" / "runs")


@pytest.mark.parametrize("lose", [lose_data, lose_state])
def test_a_missing_file_is_in_everybodys_way_until_the_upkeep_of_another_catalogue(
    home: Path, aisle: Any, lose: Callable[[Path], None]
) -> None:
    for catalog in ("other", "shelf"):
        with open_run(catalog, "ingest", ["c"]) as run:
            ingest(run, ROWS)
    lose(home)
    titles = "SELECT title FROM products WHERE catalog = 'shelf' ORDER BY 1"
    code, _, told = aisle("sql", titles)
    assert code == 1
    assert "aisle maintain" in told
    code, _, told = aisle("publish")
    assert code == 1
    assert "run of any other catalogue" in told
    code, printed, _ = aisle("maintain")
    assert code == 1
    assert "is missing" in printed
    assert ("published anew" in printed) == (lose is lose_state), "predictions stand in the way of all"
    assert asked(titles) == [("abacus",), ("ball",)]


@pytest.mark.parametrize(("damage", "shown"), [(lose_data, 0), (cut_log, 2), (lose_runs, 0)])
def test_damage_of_one_catalogue_does_not_hold_up_the_nights_of_others(
    home: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], shown: int
) -> None:
    with open_run("other", "ingest", ["c"]) as run:
        ingest(run, ROWS)
    shutil.copytree(home / "tables" / "other", home.parent / "kept")
    damage(home)
    for day in ("first", "second"):
        night([(day, "new", "Toys")])
        assert asked(f"SELECT count(*) FROM products WHERE product_id = '{day}'") == [(1,)]
        assert asked("SELECT count(*) FROM products WHERE catalog = 'other'") == [(shown,)]
    assert "other is damaged" in caplog.text
    for work in (lambda: publish(get_home()), _night_of_other):
        with pytest.raises(TableDamaged):
            work()
    shutil.rmtree(home / "tables" / "other")
    shutil.copytree(home.parent / "kept", home / "tables" / "other")
    publish(get_home())
    assert asked("SELECT catalog, count(*) FROM products GROUP BY ALL ORDER BY ALL") == [("other", 2), ("shelf", 2)]


def _night_of_other() -> None:
    with open_run("other", "ingest", ["c"]) as run:
        ingest(run, [("3", "new", None)])


def test_columns_that_differ_in_case_and_kind_are_one_column_of_text(home: Path) -> None:
    with open_run("shelf", "ingest", ["a"]) as run:
        ingest(run, ROWS)
    with open_run("other", "ingest", ["b"]) as run:
        listed = frame(ROWS).select(pl.all().exclude("title"), pl.concat_list("title").alias("Title"))
        Stage(staged_folder(run), 0).write(listed, listed.clear())
        store(run, spec(), [Staged("b", len(ROWS), 0, {})])
    assert asked("SELECT catalog, title FROM products WHERE product_id = '2' ORDER BY 1") == [
        ("other", "[ball]"),
        ("shelf", "ball"),
    ]


def test_a_published_file_that_is_no_database_is_replaced(home: Path) -> None:
    night(ROWS)
    for work in (lambda: publish(get_home()), _night_of_other):
        (home / "warehouse.duckdb").write_bytes(b"no database" * 1000)
        work()
        assert asked("SELECT count(*) FROM products WHERE catalog = 'shelf'") == [(2,)]


def test_a_copy_of_a_catalogues_tables_is_no_catalogue(home: Path) -> None:
    night(ROWS)
    shutil.copytree(home / "tables" / "shelf", home / "tables" / "shelf.bak")
    night([("3", "new", None)])
    assert asked("SELECT DISTINCT catalog FROM products") == [("shelf",)]


def test_where_all_is_seen_finishing_waits_for_no_other_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_LOCK_WAIT_S", "0")
    get_settings.cache_clear()
    night(ROWS)
    seen = (home / "warehouse.duckdb").stat().st_ino
    with locked(get_home().lock("run-shelf"), wait_s=0, what="a run"):
        finish("shelf")
        assert (home / "warehouse.duckdb").stat().st_ino == seen
        (home / "warehouse.duckdb").unlink()
        with pytest.raises(RunLocked):
            finish("shelf")
    finish("shelf")
    assert len(asked("SELECT * FROM products")) == len(ROWS)
    assert len(asked("SELECT * FROM runs")) == 1


def test_publishing_imports_no_pandas(home: Path) -> None:
    """DuckDB does for the first parameter that it is given, and a rollback waits for it."""
    night(ROWS)
    code = """
import sys
from warehouse.home import get_home
from warehouse.publish import is_published, publish
publish(get_home())
assert is_published(get_home(), "shelf")
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=os.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
