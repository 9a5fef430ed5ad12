"""Events: told once a run can be seen, to a webhook without Prefect, and never at the expense of the run."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core import webhook
from core.errors import SourceMissing, UnknownCatalog
from core.events import Event, deliver_by
from core.settings import Settings, get_settings
from tasks.summarise_run import make_visible
from tests import sink, stored
from tests.sink import Sink
from warehouse import registry as models
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import announce, open_run

TOKEN = sink.PATH.rpartition("/")[2]


@pytest.fixture
def told(shelves: Path) -> Iterator[list[tuple[Event, int]]]:
    """Events as they are told, each with the runs that readers could see then."""
    heard: list[tuple[Event, int]] = []

    def hear(event: Event) -> None:
        seen = query(get_home(), "SELECT count(*) FROM runs").rows[0][0] if get_home().database.exists() else 0
        heard.append((event, seen))

    stop = deliver_by(hear)
    yield heard
    stop()


@pytest.fixture
def hook(shelves: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """AISLE_WEBHOOK names a sink, and nobody waits long between attempts."""
    monkeypatch.setattr(webhook, "WAITS_S", (0.01, 0.01))
    with sink.listening() as listening:
        monkeypatch.setenv("AISLE_WEBHOOK", listening.address)
        get_settings.cache_clear()
        yield listening


def test_an_event_is_told_when_its_run_can_be_seen(told: list[tuple[Event, int]]) -> None:
    with open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titles are longer", {"fields": ["title"]})
        assert not told
    ((event, seen),) = told
    assert seen == 1
    assert (event.event, event.catalog, event.run_id) == ("aisle.drift", "shelf", run.run_id)
    assert (event.summary, event.facts) == ("titles are longer", {"fields": ["title"]})
    assert event.resource == "aisle.catalog.shelf"


def test_the_lock_is_free_when_an_event_is_told(shelves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who acts on an event starts a run of the same catalogue."""
    monkeypatch.setenv("AISLE_LOCK_WAIT_S", "0.1")
    get_settings.cache_clear()
    with open_run("shelf", "monitor") as run:
        run.afterwards.append(lambda: stored.night([("1", "a long title", "Books")]) and None)
    assert query(get_home(), "SELECT flow FROM runs ORDER BY finished_at").rows == [("monitor",), ("nightly",)]


def test_what_a_failed_run_announced_is_never_told(told: list[tuple[Event, int]]) -> None:
    def fail() -> None:
        with open_run("shelf", "nightly", ["absent.jsonl"]) as run:
            announce(run, "aisle.drift", "nobody will see these rows")
            raise SourceMissing("nothing there", where="absent.jsonl", hint="look elsewhere")

    with pytest.raises(SourceMissing):
        fail()
    ((event, _),) = told
    assert (event.event, event.catalog) == ("aisle.run.failed", "shelf")
    assert event.run_id
    assert event.summary == "nightly of shelf failed: SourceMissing: nothing there"
    assert event.facts == {
        "flow": "nightly",
        "error": "SourceMissing",
        "message": "nothing there",
        "where": "absent.jsonl",
        "hint": "look elsewhere",
        "recorded": False,
    }


def test_of_a_run_that_fails_half_way_what_was_recorded_is_told(told: list[tuple[Event, int]]) -> None:
    def fail() -> None:
        with open_run("shelf", "nightly") as run:
            announce(run, "aisle.model.promoted", "v1 is champion")
            make_visible(run.run_id)
            announce(run, "aisle.drift", "undone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [event.event for event, _ in told] == ["aisle.model.promoted", "aisle.run.failed"]
    assert told[1][0].facts["recorded"] is True


def test_what_is_recorded_and_cannot_be_seen_is_not_told(told: list[tuple[Event, int]]) -> None:
    """Publishing fails: whoever acted on the event would find nothing of what it speaks of."""
    in_the_way = get_home().database.with_name(f".{get_home().database.name}.new")

    def fail() -> None:
        with open_run("shelf", "monitor") as run:
            announce(run, "aisle.model.promoted", "v1 is champion")
            make_visible(run.run_id)
            announce(run, "aisle.drift", "titles are longer")
            in_the_way.mkdir()

    with pytest.raises(IsADirectoryError):
        fail()
    assert [event.event for event, _ in told] == ["aisle.model.promoted", "aisle.run.failed"]
    assert told[1][0].facts["recorded"] is True


def test_a_run_that_cannot_begin_is_told_as_failed(told: list[tuple[Event, int]]) -> None:
    with pytest.raises(UnknownCatalog), open_run("shelv", "nightly"):
        pass
    assert [(event.event, event.catalog, event.run_id) for event, _ in told] == [("aisle.run.failed", "shelv", None)]


def test_a_part_of_a_run_tells_nothing_by_itself(told: list[tuple[Event, int]]) -> None:
    with open_run("shelf", "nightly") as run:
        with open_run("shelf", "monitor", within=run.run_id) as same:
            announce(same, "aisle.drift", "titles are longer")
        assert not told
    assert [event.event for event, _ in told] == ["aisle.drift"]


def test_what_fails_behind_a_run_is_logged_and_the_rest_is_done(
    told: list[tuple[Event, int]], caplog: pytest.LogCaptureFixture
) -> None:
    with open_run("shelf", "monitor") as run:
        run.afterwards.append(lambda: [][0])
        announce(run, "aisle.drift", "titles are longer")
    assert [event.event for event, _ in told] == ["aisle.drift"]
    assert f"run {run.run_id} of shelf is recorded" in caplog.text


def test_a_channel_that_fails_stops_no_other(told: list[tuple[Event, int]], caplog: pytest.LogCaptureFixture) -> None:
    broken = deliver_by(lambda _: [][0])
    heard: list[Event] = []
    last = deliver_by(heard.append)
    with open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titles are longer")
    broken()
    last()
    assert [event.event for event in heard] == ["aisle.drift"]
    assert "aisle.drift of shelf could not be told: IndexError" in caplog.text


def test_the_webhook_gets_one_json_object_an_event(hook: Sink) -> None:
    before = datetime.now(UTC)
    with open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titres plus élevés", {"score": 0.25, "at": before})
    (body,) = hook.bodies
    assert before <= datetime.fromisoformat(body.pop("time")).replace(microsecond=999_999)
    assert body == {
        "event": "aisle.drift",
        "catalog": "shelf",
        "run_id": run.run_id,
        "summary": "titres plus élevés",
        "facts": {"score": 0.25, "at": str(before)},
    }
    assert hook.paths == [sink.PATH]


@pytest.mark.parametrize(
    ("answers", "attempts", "delivered"),
    [([503, 200], 2, True), ([429, 500, 204], 3, True), ([500], 3, False), ([404], 1, False), ([302], 1, False)],
)
def test_a_webhook_that_may_recover_is_tried_again_and_no_other(
    hook: Sink, caplog: pytest.LogCaptureFixture, answers: list[int], attempts: int, delivered: bool
) -> None:
    hook.answers = list(answers)
    with open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titles are longer")
    assert hook.paths == [sink.PATH] * attempts
    assert ("not delivered to AISLE_WEBHOOK" in caplog.text) is not delivered
    if not delivered:
        assert f"HTTP {answers[-1]}, attempt {attempts}): aisle.drift of shelf, run {run.run_id}" in caplog.text
    assert query(get_home(), "SELECT count(*) FROM runs").rows == [(1,)]


def test_nobody_at_the_address_fails_no_run(
    hook: Sink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AISLE_WEBHOOK", f"http://127.0.0.1:{free.getsockname()[1]}{sink.PATH}")
    get_settings.cache_clear()
    with open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titles are longer")
    assert f"ConnectError, attempt 3): aisle.drift of shelf, run {run.run_id}" in caplog.text
    assert not hook.bodies


@pytest.mark.parametrize("answers", [[204], [500]])
def test_the_address_stands_in_no_log(hook: Sink, caplog: pytest.LogCaptureFixture, answers: list[int]) -> None:
    hook.answers = answers
    with caplog.at_level(logging.DEBUG), open_run("shelf", "monitor") as run:
        announce(run, "aisle.drift", "titles are longer")
    assert hook.bodies
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(get_settings())


def test_an_address_that_is_none_is_refused_without_being_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_WEBHOOK", f"hooks.example{sink.PATH}")
    with pytest.raises(ValueError, match="begins with http:// or https://") as refused:
        Settings()
    assert TOKEN not in str(refused.value)


def test_an_empty_address_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_WEBHOOK", "")
    assert Settings().webhook is None


def test_a_new_champion_and_a_refused_challenger_are_told(told: list[tuple[Event, int]]) -> None:
    stored.night([("1", "a long title", "Books"), ("2", "short", "Toys")])
    with open_run("shelf", "train") as run:
        stored.challenge(run, "v2")
        models.note(run, "refused", "v2", "macro F1 0.1, champion v1 0.9")
    with open_run("shelf", "models promote") as run:
        models.overrule(run, "promoted", "v2", "better on toys")
    with open_run("shelf", "models rollback") as run:
        models.overrule(run, "rolled_back", None, "")
    with open_run("shelf", "models reject") as run:
        models.overrule(run, "rejected", "v2", "trained on a damaged file")
    assert [(event.event, event.summary) for event, _ in told] == [
        ("aisle.model.promoted", "v1 is champion of shelf: the first"),
        ("aisle.challenger.refused", "v2 of shelf was refused: macro F1 0.1, champion v1 0.9"),
        ("aisle.model.promoted", "v2 is champion of shelf: better on toys"),
        ("aisle.model.promoted", "v1 is champion of shelf: rolled back from v2"),
    ]
    assert told[1][0].facts == {
        "version": "v2",
        "champion_before": "v1",
        "why": "macro F1 0.1, champion v1 0.9",
        "decided_by": "gate",
    }
    assert told[2][0].facts["decided_by"] == "person"
