"""Retraining: one run that trains, asks the gate, and lets the champion answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogs import demo
from core.events import Event, deliver_by
from flows.ingest import ingest
from flows.nightly import nightly
from flows.retrain import retrain
from flows.score import score
from tests.damage import shuffle_labels
from warehouse.home import get_home
from warehouse.query import query

ROWS = 1_500


def ask(sql: str) -> list[tuple[object, ...]]:
    return query(get_home(), sql).rows


@pytest.fixture
def told() -> Iterator[list[Event]]:
    heard: list[Event] = []
    stop = deliver_by(heard.append)
    yield heard
    stop()


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Path:
    """A shop with a champion; gives its file."""
    day = demo.generate(tmp_path / "source", rows=ROWS, seed=1, day=0)
    nightly.fn("demo", [str(day)])
    return day


def test_a_challenger_that_passes_answers_for_all(told: list[Event], shop: Path) -> None:
    result = retrain.fn("demo", why="drift in three batches")
    assert (result.version, result.promoted, result.champion) == ("v2", True, "v2")
    assert result.why == "drift in three batches"
    assert result.rows["scored"] == result.rows["current"] > 0
    assert ask("SELECT DISTINCT model_version FROM predictions") == [("v2",)]
    assert [event.event for event in told] == ["aisle.model.promoted"] * 2


def test_a_challenger_that_is_refused_changes_no_answer(told: list[Event], shop: Path, tmp_path: Path) -> None:
    later = demo.generate(tmp_path / "source", rows=3 * ROWS, seed=1, day=60)
    ingest.fn("demo", [str(shuffle_labels(later, tmp_path / "damaged.jsonl.gz"))])
    score.fn("demo")
    before = ask("SELECT * FROM predictions ORDER BY product_id")
    told.clear()
    result = retrain.fn("demo", why="drift in three batches")
    assert (result.version, result.promoted, result.champion) == ("v2", False, "v1")
    assert result.rows["scored"] == 0
    assert ask("SELECT * FROM predictions ORDER BY product_id") == before
    ((event, summary),) = [(event.event, event.summary) for event in told]
    assert (event, summary) == ("aisle.challenger.refused", f"v2 of demo was refused: {result.verdict}")


def test_a_scoring_that_fails_leaves_the_trained_model(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(score, "fn", fail)
    with pytest.raises(OSError, match="no room"):
        retrain.fn("demo")
    assert ask("SELECT model_version, status FROM models ORDER BY ALL") == [
        ("v1", "former champion"),
        ("v2", "champion"),
    ]
