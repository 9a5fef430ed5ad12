"""`aisle maintain`: what is damaged is found, and tidying changes nothing that anybody may read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from aisle.cli import run as run_command
from catalogs.demo import generate
from core.errors import NotKept
from core.settings import get_settings
from tests.commands import digests
from tests.killing import run
from tests.stored import ingest
from warehouse import tables
from warehouse.home import get_home
from warehouse.publish import publish
from warehouse.query import query
from warehouse.recorded import readable, recorded
from warehouse.runs import open_run
from warehouse.upkeep import MOST_SMALL_FILES

DAYS = MOST_SMALL_FILES + 2
VIEWS = ("products", "predictions", "predictions_history", "rejects", "conservation", "conflicts")
A_WEEK_AND_MORE = 8 * 86_400


pytestmark = pytest.mark.usefixtures("shelves")


OPEN = (*VIEWS, "runs", "models", "policy", "drift", "labels", "review_queue")


def shown(then: datetime | None = None) -> dict[str, list[dict[str, Any]]]:
    return {view: query(get_home(), f"SELECT * FROM {view} ORDER BY ALL", then).as_dicts() for view in VIEWS}


def store_day(day: int) -> None:
    with open_run("shelf", "ingest", [f"day-{day}"]) as run:
        ingest(run, [("1", f"title of day {day}", None), (f"new-{day}", "a ball", "Toys")], bad=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where homes are kept that several tests begin with."""
    return tmp_path_factory.mktemp("kept")


def begin_with(home: Path, kept: Path, make: Callable[[], None]) -> None:
    """A home as `make` makes it: made once, and copied."""
    before = kept / make.__name__
    if not before.exists():
        make()
        shutil.copytree(home, before)
        return
    shutil.copytree(before, home)
    publish(get_home())  # views name their files by whole paths


def store_all_days() -> None:
    for day in range(DAYS):
        store_day(day)


def run_the_demo() -> None:
    assert run_command(["run", "demo", str(generate(get_home().root.parent / "source", 600))]) == 0


def maintained(aisle: Any, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = aisle("maintain", *words, "--json")
    [told] = json.loads(out)
    return code, told


def test_small_files_are_written_together_and_every_time_reads_as_before(home: Path, aisle: Any) -> None:
    times = []
    for day in range(DAYS):
        store_day(day)
        times.append((datetime.now(UTC), shown()))
        time.sleep(0.002)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as reader:
        code, told = maintained(aisle)
        assert (code, told["damage"]) == (0, [])
        assert reader.execute("SELECT count(*) FROM products").fetchone() == (DAYS + 1,)
    assert told["compacted"]["products"] == {"before": DAYS, "after": 1}
    assert told["compacted"]["rejects"] == {"before": DAYS, "after": 1}
    assert told["compacted"]["runs"] == {"before": DAYS, "after": 1}
    assert told["checked"]["rows"] >= 2 * DAYS
    assert shown() == times[-1][1]
    for then, state in times:
        assert shown(then) == state
    versions = recorded(get_home(), "shelf")
    assert len(tables.files(home / "tables" / "shelf" / "products", versions["products"])) == 1
    store_day(DAYS)
    assert query(get_home(), "SELECT count(*), bool_and(balanced) FROM conservation").rows == [(DAYS + 1, True)]
    assert query(get_home(), "SELECT flow FROM runs").rows[-2:] == [("maintain",), ("ingest",)]


def test_files_that_nobody_needs_go_and_others_stay(
    home: Path, kept: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_with(home, kept, store_all_days)
    first = datetime.now(UTC)
    now = shown()
    folder = home / "tables" / "shelf" / "state"
    old, young = folder / "part-left-by-a-killed-run.parquet", folder / "part-of-today.parquet"
    for left in (old, young):
        left.write_bytes(b"half")
    os.utime(old, (time.time() - A_WEEK_AND_MORE,) * 2)
    code, told = maintained(aisle)
    assert (code, told["deleted"]) == (0, {"state": {"files": 1, "bytes": 4}})
    assert not old.exists()
    assert young.exists()
    assert shown() == now
    assert shown(first) == now, "runs of the last seven days keep their files"

    monkeypatch.setenv("AISLE_RETENTION_DAYS", "0")
    get_settings.cache_clear()
    before = len(list(folder.glob("*.parquet")))
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as reader:
        code, told = maintained(aisle)
        assert told["deleted"]["state"]["files"] == DAYS, "all but the current one, and what no commit names"
        assert reader.execute("SELECT count(*) FROM products").fetchone() == (DAYS + 1,), "what was published stays"
    assert before - len(list(folder.glob("*.parquet"))) == DAYS
    assert maintained(aisle)[1]["deleted"].get("state") is None, "what has gone once does not go again"
    assert shown() == now
    with pytest.raises(NotKept, match="predictions_history"):
        shown(first)
    store_day(DAYS)
    assert len(query(get_home(), "SELECT * FROM products").rows) == DAYS + 2


def test_what_was_published_last_stays_whatever_is_tidied(
    home: Path, kept: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with no retention at all: somebody may have opened it a moment ago."""
    monkeypatch.setenv("AISLE_RETENTION_DAYS", "0")
    get_settings.cache_clear()
    begin_with(home, kept, store_all_days)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as reader:
        before = {view: reader.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall() for view in OPEN}
        code, told = maintained(aisle)
        assert (code, told["compacted"]["products"]["after"]) == (0, 1)
        assert told["compacted"]["runs"]["after"] == 1
        assert before == {view: reader.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall() for view in OPEN}


@pytest.mark.parametrize(
    "point",
    ["compact products: after (1)", "commit runs: before (1)"],
)
def test_upkeep_that_is_killed_changes_nothing_and_the_next_finishes(
    home: Path, kept: Path, tmp_path: Path, aisle: Any, point: str
) -> None:
    begin_with(home, kept, store_all_days)
    then, now = datetime.now(UTC), shown()
    killed = run(home, ["maintain", "shelf"], tmp_path / "told.json", until=point)
    assert killed.code == -signal.SIGKILL, killed.reached
    assert shown() == now
    publish(get_home())
    assert shown() == now
    code, told = maintained(aisle)
    assert (code, told["damage"]) == (0, [])
    assert told["compacted"]["products"] == {"before": DAYS, "after": 1}
    assert shown() == now
    assert shown(then) == now


def newest(folder: Path) -> Path:
    return max(folder.glob("*.parquet"), key=lambda file: file.stat().st_mtime_ns)


def lose(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def spoil(file: Path) -> None:
    """Other bytes near the start, as many as before."""
    raw = bytearray(file.read_bytes())
    raw[4:44] = b"\xff" * 40
    file.write_bytes(raw)


def flip(file: Path) -> None:
    """One bit of what is stored."""
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 3] ^= 1
    file.write_bytes(raw)


@pytest.mark.parametrize("kind", ["products", "rejects", "runs"])
def test_a_flipped_bit_is_found_in_what_was_written_together(home: Path, kept: Path, aisle: Any, kind: str) -> None:
    begin_with(home, kept, store_all_days)
    assert maintained(aisle)[1]["compacted"][kind]["after"] == 1
    assert maintained(aisle)[1]["damage"] == []
    path = get_home().table("shelf", kind)
    together = max(tables.logged(path, readable(get_home(), "shelf")[kind]), key=lambda file: file.rows).path
    flip(together)
    code, told = maintained(aisle)
    assert code == 1
    assert [(one["where"], "sha256 differs" in one["what"]) for one in told["damage"]] == [(str(together), True)]


@pytest.mark.parametrize(
    ("which", "damage", "said"),
    [
        ("table", lose, "is missing"),
        ("table", cut, "was written with"),
        ("table", spoil, "sha256 differs"),
        ("small table", spoil, "sha256 differs"),
        ("small table", flip, "sha256 differs"),
        ("runs", flip, "sha256 differs"),
        ("log", cut, "cannot be opened"),
        ("model", lose, "is missing"),
        ("model", spoil, "sha256 differs"),
    ],
)
def test_damage_is_found_and_nothing_is_touched(
    home: Path, kept: Path, aisle: Any, which: str, damage: Callable[[Path], None], said: str
) -> None:
    begin_with(home, kept, run_the_demo)
    assert maintained(aisle, "demo")[0] == 0
    tables_of = home / "tables" / "demo"
    damaged = {
        "table": lambda: newest(tables_of / "scores"),
        "small table": lambda: newest(tables_of / "policy"),
        "runs": lambda: newest(tables_of / "runs"),
        "log": lambda: max((tables_of / "scores" / "_delta_log").glob("*.json")),
        "model": lambda: home / "models" / "demo" / "v1" / "intercept.npy",
    }[which]()
    damage(damaged)
    before = digests(home)
    code, told = maintained(aisle, "demo")
    assert code == 1
    assert told["compacted"] is None
    assert any(said in one["what"] and one["hint"] for one in told["damage"]), told["damage"]
    assert any(str(damaged.parent).startswith(one["where"].rpartition("/")[0]) for one in told["damage"])
    assert digests(home) == before
    assert "hint: " in aisle("maintain", "demo")[1]


def test_an_empty_home_needs_no_upkeep(home: Path, aisle: Any) -> None:
    assert aisle("maintain") == (0, "nothing is stored yet\n", "")
