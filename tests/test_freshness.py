"""Data that nobody renews any more is noticed, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from core.events import Event, deliver_by
from core.settings import get_settings
from tasks.check_freshness import Freshness, check_freshness
from tests import stored
from tests.stored import SHELVES, Row
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run

ROWS: list[Row] = [("1", "a long title", "Books"), ("2", "short", "Toys")]
AT_ONCE = 1e-9
"""Days. Whatever was stored by an earlier run is older."""


@pytest.fixture
def told() -> Iterator[list[Event]]:
    heard: list[Event] = []
    stop = deliver_by(heard.append)
    yield heard
    stop()


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelves: Path) -> Callable[[float], None]:
    """Lets the shelf's data become so many days old."""

    def _allow(days: float) -> None:
        toml = (SHELVES / "shelf.toml").read_text()
        (tmp_path / "shelf.toml").write_text(f"{toml}\n[freshness]\nmax_days = {days:.12f}\n")
        monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
        get_settings.cache_clear()

    return _allow


def look() -> Freshness:
    with open_run("shelf", "monitor") as run:
        return check_freshness(run.run_id)


def test_data_that_is_older_than_allowed_is_announced(allow: Callable[[float], None], told: list[Event]) -> None:
    allow(AT_ONCE)
    stored.night(ROWS)
    told.clear()
    seen = look()
    assert seen.stale is True
    (event,) = told
    assert (event.event, event.catalog) == ("aisle.data.stale", "shelf")
    assert event.summary == f"shelf is stale: {seen.summary}"
    assert seen.last is not None
    assert datetime.fromisoformat(event.facts["last_change"]) == seen.last.replace(microsecond=0)


def test_data_that_is_younger_is_not(allow: Callable[[float], None], told: list[Event]) -> None:
    allow(1)
    stored.night(ROWS)
    told.clear()
    seen = look()
    assert (seen.stale, told) == (False, [])
    assert "0.0 days ago" in seen.summary
    assert seen.summary.endswith("; 1 days are allowed")


def test_a_catalogue_without_a_limit_is_never_stale(shelves: Path, told: list[Event]) -> None:
    stored.night(ROWS)
    told.clear()
    assert (look().stale, told) == (None, [])


def test_a_catalogue_without_products_is_not_stale(allow: Callable[[float], None], told: list[Event]) -> None:
    allow(AT_ONCE)
    assert look() == Freshness(None, None, "nothing was stored yet")
    assert told == []


def test_the_same_file_again_renews_nothing(allow: Callable[[float], None]) -> None:
    allow(AT_ONCE)
    stored.night(ROWS)
    first = look().last
    stored.night(ROWS)
    assert look().last == first
    (ended,) = query(get_home(), "SELECT finished_at FROM runs WHERE flow = 'nightly' ORDER BY ALL LIMIT 1").rows[0]
    assert first == ended
    stored.night([*ROWS, ("3", "another title", "Books")])
    last = look().last
    assert last is not None
    assert first is not None
    assert last > first


def test_a_night_that_brings_something_new_is_fresh(allow: Callable[[float], None], told: list[Event]) -> None:
    allow(AT_ONCE)
    stored.night(ROWS)
    told.clear()
    with open_run("shelf", "nightly") as run:
        stored.ingest(run, [("3", "another title", "Books")])
        seen = check_freshness(run.run_id)
    assert (seen.stale, told) == (False, [])
