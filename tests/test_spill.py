"""Readers that need more memory than they may have: each spills to a place of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core.settings import get_settings
from tests.stored import night
from warehouse.home import get_home
from warehouse.publish import publish
from warehouse.query import connect, query
from warehouse.spill import sweep

# Sorts 40 MB, and gives its first rows while the rest lies on the disk.
BIG = "SELECT s, md5(a::VARCHAR) = s FROM (SELECT range AS a, md5(range::VARCHAR) AS s FROM range(600000)) ORDER BY s"
TWO_DAYS = 2 * 86_400


@pytest.fixture
def small(shelves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little memory."""
    monkeypatch.setenv("AISLE_MEMORY_LIMIT", "40MB")
    get_settings.cache_clear()


def test_readers_at_once_spill_to_folders_of_their_own_and_leave_nothing(home: Path, small: None) -> None:
    publish(get_home())
    before = set(home.iterdir())
    with connect(get_home()) as one, connect(get_home()) as other:
        for connection in (one, other):
            connection.execute(BIG)
            assert all(right for _, right in connection.fetchmany(1000))
        spilled = [path for path in set(home.iterdir()) - before if list(path.iterdir())]
        assert len(spilled) == 2
        assert all(right for _, right in [*one.fetchall(), *other.fetchall()])
    assert set(home.iterdir()) == before


def test_a_home_that_may_only_be_read_is_asked_more_than_memory_holds(
    home: Path, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(get_home())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with connect(get_home()) as connection:
        connection.execute(BIG)
        assert list((tmp_path / "tmp").iterdir())
        assert len(connection.fetchall()) == 600_000
    assert not list((tmp_path / "tmp").iterdir())


def test_connections_of_one_process_do_not_confine_each_other(home: Path, shelves: Path) -> None:
    night([("1", "abacus", "Books")])
    with connect(get_home()) as connection:
        assert query(get_home(), "SELECT count(*) FROM products").rows == [(1,)]
        night([("2", "ball", "Toys")])
        assert query(get_home(), "SELECT count(*) FROM products").rows == [(2,)], "new ones see what is new"
        assert connection.execute("SELECT count(*) FROM products").fetchall() == [(1,)]


def test_what_killed_readers_left_is_swept_a_day_later(home: Path) -> None:
    for name in (".query-old.tmp", ".query-young.tmp"):
        (home / name).mkdir(parents=True)
        (home / name / "duckdb_temp_storage_DEFAULT-0.tmp").write_bytes(b"rows")
    for path in (home / ".query-old.tmp" / "duckdb_temp_storage_DEFAULT-0.tmp", home / ".query-old.tmp"):
        os.utime(path, (time.time() - TWO_DAYS,) * 2)
    sweep(get_home())
    assert [path.name for path in home.iterdir()] == [".query-young.tmp"]
