"""The warehouse as it was, back to an earlier champion, and backfills."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import NothingPublished, NotKept, TableDamaged, UnknownRun, UsageError
from core.settings import get_settings
from tasks.plan_scoring import plan_scoring
from tasks.store_scores import store_scores
from tests.stored import LengthModel, crown, ingest, models, night, score, spec
from warehouse import scoring, tables
from warehouse.home import get_home
from warehouse.past import end_of_run, moment
from warehouse.query import query
from warehouse.recorded import recorded
from warehouse.rollback import take_back
from warehouse.runs import Run, open_run
from warehouse.upkeep import tidy

ROWS = [("1", "abacus", "Books"), ("2", "ball", "Toys"), ("3", "what?", None)]
VIEWS = ("products", "predictions", "predictions_history", "models", "runs", "conservation", "policy", "rejects")


pytestmark = pytest.mark.usefixtures("shelves")


def shown(then: datetime | None = None) -> dict[str, list[dict[str, Any]]]:
    return {view: query(get_home(), f"SELECT * FROM {view} ORDER BY ALL", then).as_dicts() for view in VIEWS}


def asked(sql: str, then: datetime | None = None) -> list[tuple[Any, ...]]:
    return query(get_home(), sql, then).rows


def test_the_warehouse_is_read_as_it_was(home: Path) -> None:
    """At any time between runs, whatever came later: other rows, another champion, another catalogue."""
    states = []
    for change in (
        lambda: night(ROWS, bad=1),
        lambda: night([("2", "a longer ball", None), ("4", "new", "Toys")]),
        lambda: _another_champion(),
        lambda: _another_catalogue(),
    ):
        change()
        states.append((datetime.now(UTC), shown()))
        time.sleep(0.002)
    for then, state in states:
        assert shown(then) == state
    assert shown(datetime.now(UTC) + timedelta(days=1)) == states[-1][1]


def _another_champion() -> None:
    with open_run("shelf", "score") as run:
        crown(run, "v2", "digest-2", threshold=0.99)
        score(run, LengthModel())


def _another_catalogue() -> None:
    with open_run("other", "ingest", ["x"]) as run:
        ingest(run, ROWS)


def test_the_warehouse_is_read_as_a_run_left_it(home: Path, aisle: Any) -> None:
    first = night(ROWS)
    before = shown()
    night([("4", "new", "Toys")])
    assert shown(end_of_run(get_home(), first.run_id)) == before
    sql = "SELECT count(*) AS n FROM predictions"
    assert json.loads(aisle("sql", sql, "--run", first.run_id, "--json")[1]) == [{"n": 3}]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert json.loads(aisle("sql", sql, "--as-of", today, "--json")[1]) == [{"n": 4}]
    with pytest.raises(UnknownRun, match="20260101T000000-abcdef"):
        end_of_run(get_home(), "20260101T000000-abcdef")
    for options in (["--as-of", "yesterday"], ["--as-of", today, "--run", first.run_id]):
        code, printed, _ = aisle("sql", sql, *options, "--json")
        assert (code, json.loads(printed)["error"]) == (2, "UsageError")
    code, printed, _ = aisle("sql", sql, "--as-of", "2020-01-31", "--json")
    assert (code, json.loads(printed)["error"]) == (1, "NothingPublished")
    assert "the first run ended at" in json.loads(printed)["hint"]


def test_the_past_is_read_only_too_and_no_file_outside_the_home(home: Path, aisle: Any) -> None:
    night(ROWS)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for sql in ("SELECT * FROM '/etc/hostname'", "COPY (SELECT 1) TO 'x.csv'", "CREATE TABLE t AS SELECT 1"):
        code, printed, _ = aisle("sql", sql, "--as-of", today, "--json")
        assert (code, json.loads(printed)["error"]) == (1, "QueryRefused")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31", datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC)),
        ("20260131", datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC)),
        ("2026-01-31T18:30", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
        ("2026-01-31 18:30:00+02:00", datetime(2026, 1, 31, 16, 30, tzinfo=UTC)),
        ("2026-01-31T18:30:00Z", datetime(2026, 1, 31, 18, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_utc_and_a_date_means_its_end(text: str, meant: datetime) -> None:
    assert moment(text, "--as-of") == meant


@pytest.mark.parametrize("text", ["", "2026-02-30", "31.1.2026", "tomorrow", "2026-01-31T25:00", "2026-1-1"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="for example 2026-01-31"):
        moment(text, "--as-of")


def test_a_time_whose_files_are_gone_is_named(home: Path) -> None:
    night(ROWS)
    then = datetime.now(UTC)
    old = list((home / "tables" / "shelf" / "state").glob("*.parquet"))
    night([("4", "new", "Toys")])
    for file in old:
        file.unlink()
    with pytest.raises(NotKept, match="predictions_history"):
        shown(then)
    assert len(asked("SELECT * FROM predictions")) == 4
    state_files()[0].unlink()
    with pytest.raises(TableDamaged, match="missing"):
        shown(then)


def test_before_the_first_run_there_was_nothing(home: Path) -> None:
    with pytest.raises(NothingPublished, match="aisle run"):
        shown(datetime.now(UTC))


def test_a_rollback_brings_the_answers_back_at_once(home: Path, aisle: Any) -> None:
    night(ROWS)
    before = asked("SELECT * FROM predictions ORDER BY product_id")
    _another_champion()
    night([("4", "new", "Toys")])
    assert asked("SELECT DISTINCT model_version FROM predictions") == [("v2",)]
    code, printed, _ = aisle("models", "rollback", "shelf", "--json")
    assert code == 0
    assert {key: json.loads(printed)[key] for key in ("champion", "reused", "unanswered")} == {
        "champion": "v1",
        "reused": 3,
        "unanswered": 1,
    }
    assert asked("SELECT * FROM predictions WHERE product_id < '4' ORDER BY product_id") == before
    assert asked("SELECT model_version FROM predictions WHERE product_id = '4'") == [("v2",)]
    assert asked("SELECT count(*) FROM predictions_history") == [(7,)], "nothing was scored again"
    assert asked("SELECT bool_and(balanced) FROM conservation") == [(True,)]


def test_a_rollback_finds_the_state_of_its_answers_and_writes_none(home: Path, aisle: Any) -> None:
    night(ROWS)
    before, files = asked("SELECT * FROM predictions ORDER BY ALL"), state_files()
    _another_champion()
    meanwhile, then = datetime.now(UTC), shown()
    code, printed, _ = aisle("models", "rollback", "shelf", "--json")
    assert code == 0
    assert {key: json.loads(printed)[key] for key in ("reused", "unanswered")} == {"reused": 3, "unanswered": 0}
    assert asked("SELECT * FROM predictions ORDER BY ALL") == before
    assert state_files() == files
    assert shown(meanwhile) == then
    with open_run("shelf", "maintain") as run:
        # The states before any answer and under the other champion, and not the one that is back.
        assert run.vacuum("state", 0, keep=[])[0] == 2
    assert asked("SELECT * FROM predictions ORDER BY ALL") == before
    night([("2", "a longer ball", None), ("4", "new", "Toys")])
    assert asked("SELECT product_id, model_version FROM predictions ORDER BY 1") == [(one, "v1") for one in "1234"]
    assert asked("SELECT bool_and(balanced) FROM conservation") == [(True,)]


def test_a_rollback_finds_a_state_that_was_written_together_since(
    home: Path, aisle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What compaction wrote is whole by the digest that its run recorded."""
    monkeypatch.setenv("AISLE_BATCH_ROWS", "100")
    get_settings.cache_clear()
    night([(f"{number}", "ball", None) for number in range(1_700)])
    before = asked("SELECT * FROM predictions ORDER BY ALL")
    assert len(state_files()) == 9
    with open_run("shelf", "maintain") as run:
        assert "state" in tidy(run).compacted
    (together,) = state_files()
    _another_champion()
    assert aisle("models", "rollback", "shelf")[0] == 0
    assert asked("SELECT * FROM predictions ORDER BY ALL") == before
    assert state_files() == [together]


@pytest.mark.parametrize("loss", ["gone", "damaged"])
def test_a_rollback_looks_answers_up_where_the_state_of_then_is_not_whole(home: Path, aisle: Any, loss: str) -> None:
    night(ROWS)
    before, (file,) = asked("SELECT * FROM predictions ORDER BY ALL"), state_files()
    _another_champion()
    lose(file, loss)
    assert aisle("models", "rollback", "shelf")[0] == 0
    assert asked("SELECT * FROM predictions ORDER BY ALL") == before
    assert state_files() != [file]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([("4", "new", "Toys")], {"1": "v1", "2": "v1", "3": "v1", "4": "v2"}),
        ([("2", "a longer ball", "Toys")], {"1": "v1", "2": "v2", "3": "v1"}),
        ([("2", "ball", "Books")], {"1": "v1", "2": "v1", "3": "v1"}),
    ],
    ids=["a new product", "another title", "another label"],
)
@pytest.mark.parametrize("loss", ["none", "gone", "damaged"])
def test_a_rollback_takes_nothing_back_but_answers(
    home: Path, aisle: Any, changes: Any, expected: Any, loss: str
) -> None:
    """What was stored since is current as before, under the champion that answered last.

    Answers are the same ones, whether they are rows of the state of then or are looked up.
    """
    night(ROWS)
    answers = "SELECT * EXCLUDE (known_label) FROM predictions WHERE product_id IN ({}) ORDER BY ALL"
    back = ", ".join(f"'{one}'" for one, version in expected.items() if version == "v1")
    said, (file,) = asked(answers.format(back)), state_files()
    _another_champion()
    night(changes)
    before = asked("SELECT * FROM products ORDER BY ALL")
    lose(file, loss)
    assert aisle("models", "rollback", "shelf")[0] == 0
    assert asked("SELECT * FROM products ORDER BY ALL") == before
    assert asked(answers.format(back)) == said
    assert dict(asked("SELECT product_id, model_version FROM predictions")) == expected


def test_a_rollback_copies_the_rows_of_the_last_state_that_has_its_answers(home: Path) -> None:
    """Also when the model has scored old products since, for the history alone: that left another's state."""
    since = datetime.now(UTC)
    night(ROWS)
    until = datetime.now(UTC)
    _another_champion()
    backfill("v1", since, until, LengthModel())
    night([("4", "new", "Toys")])
    with open_run("shelf", "models rollback") as run:
        model = models.overrule(run, "rolled_back", "v1", "")
        at = run.versions.pop("scores")  # nothing can be looked up
        assert take_back(run, model) == (3, 1)
        run.versions["scores"] = at
    assert asked("SELECT product_id, model_version FROM predictions ORDER BY 1") == [
        ("1", "v1"),
        ("2", "v1"),
        ("3", "v1"),
        ("4", "v2"),
    ]


def test_a_rollback_brings_back_no_answer_of_a_third_model(home: Path, aisle: Any) -> None:
    night(ROWS)
    _another_champion()
    night([("4", "new", "Toys")])
    assert aisle("models", "rollback", "shelf")[0] == 0, "its last state has an answer of v2, for 4"
    with open_run("shelf", "score") as run:
        crown(run, "v3", "digest-3")
        score(run, LengthModel())
    night([("5", "newer", "Toys")])
    assert aisle("models", "rollback", "shelf", "v1")[0] == 0
    assert dict(asked("SELECT product_id, model_version FROM predictions")) == {
        "1": "v1",
        "2": "v1",
        "3": "v1",
        "4": "v3",
        "5": "v3",
    }


def test_a_rollback_does_not_bring_back_a_product_that_a_snapshot_removed(home: Path, aisle: Any) -> None:
    whole = spec(load="snapshot", max_vanished=0.5)
    night(ROWS)
    _another_champion()
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        ingest(run, ROWS[1:], declared=whole)
    assert aisle("models", "rollback", "shelf")[0] == 0
    assert asked("SELECT product_id, model_version FROM predictions ORDER BY 1") == [("2", "v1"), ("3", "v1")]
    assert asked("SELECT product_id FROM products ORDER BY 1") == [("2",), ("3",)]


def test_a_rollback_finds_the_state_of_its_answers_behind_others(home: Path, aisle: Any) -> None:
    """A product that came and went since is no reason to write: the state before it came is that of now."""
    night(ROWS)
    files = state_files()
    _another_champion()
    night([("4", "new", "Toys")])
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        ingest(run, ROWS, declared=spec(load="snapshot", max_vanished=0.5))
    assert aisle("models", "rollback", "shelf")[0] == 0
    assert asked("SELECT product_id, model_version FROM predictions ORDER BY 1") == [(one, "v1") for one in "123"]
    assert state_files() == files


def lose(file: Path, loss: str) -> None:
    """What may happen to a file that the published tables do not need."""
    if loss == "gone":
        file.unlink()
    elif loss == "damaged":
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 1
        file.write_bytes(content)


def state_files() -> list[Path]:
    table = get_home().table("shelf", "state")
    return [Path(file) for file in tables.files(table, recorded(get_home(), "shelf")["state"])]


def backfill(
    version: str, since: datetime | None, until: datetime | None, model: LengthModel
) -> tuple[Run, scoring.Plan]:
    """What the flow does, with a model whose answers are known."""
    with open_run("shelf", "score") as run:
        plan = plan_scoring(
            run.run_id, version, *(None if time is None else time.isoformat() for time in (since, until))
        )
        for part in plan.partitions:
            scoring.score_partition(part, model, plan.model, run.run_id)
        store_scores(run.run_id, plan)
    return run, plan


def test_a_champions_backfill_in_several_partitions_replaces_what_is_current_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISLE_BATCH_ROWS", "100")
    get_settings.cache_clear()
    since = datetime.now(UTC)
    night([(f"{number}", "ball", None) for number in range(450)])
    until = datetime.now(UTC)
    night([("7", "a longer ball", None), ("450", "new", None)])
    with open_run("shelf", "train") as run:
        crown(run, "v2", "digest-2")
    _, plan = backfill("v2", since, until, LengthModel())
    assert (plan.todo, len(plan.partitions), plan.replaces) == (450, 3, True)
    told = asked("SELECT product_id, label, model_version FROM predictions")
    assert len(told) == 451
    by_id = {key: (label, version) for key, label, version in told}
    assert (by_id.pop("7"), by_id.pop("450")) == (("Books", "v1"), ("Toys", "v1"))
    assert set(by_id.values()) == {("Toys", "v2")}
    assert asked("SELECT count(*) FROM predictions_history WHERE model_version = 'v2'") == [(450,)]


def test_a_backfill_of_products_that_are_all_gone_leaves_none(home: Path) -> None:
    since = datetime.now(UTC)
    night(ROWS)
    with open_run("shelf", "ingest", ["b"]) as run:
        ingest(run, [], bad=1, declared=spec(load="snapshot", max_vanished=1.0))
    assert asked("SELECT count(*) FROM products") == [(0,)]
    _, plan = backfill("v1", since, datetime.now(UTC), LengthModel())
    assert (plan.todo, plan.reused, plan.replaces) == (0, 3, True)
    assert asked("SELECT count(*) FROM predictions") == [(0,)]
    night(ROWS[:1])
    assert asked("SELECT product_id FROM predictions") == [("1",)]


def test_a_backfill_scores_what_was_stored_then_in_every_form_and_leaves_current_answers(home: Path) -> None:
    night(ROWS)
    since = datetime.now(UTC)
    night([("2", "a longer ball", None), ("4", "new", "Toys")])
    until = datetime.now(UTC)
    night([("2", "the longest ball", None), ("5", "later", "Toys")])
    with open_run("shelf", "train") as run:
        crown(run, "v2", "digest-2")
        models.overrule(run, "rolled_back", "v1", "v2 is a challenger here")
    before = asked("SELECT * FROM predictions ORDER BY ALL"), asked("SELECT * FROM conservation ORDER BY ALL")
    model = LengthModel()
    run, plan = backfill("v2", since, until, model)
    assert sorted(model.asked) == ["a longer ball", "new"]
    assert (plan.todo, plan.reused) == (2, 0)
    assert asked("SELECT product_id FROM predictions_history WHERE model_version = 'v2' ORDER BY 1") == [("2",), ("4",)]
    assert asked("SELECT * FROM predictions ORDER BY ALL") == before[0]
    assert all(row[-1] for row in asked("SELECT * FROM conservation"))
    assert asked(f"SELECT scored, model_version FROM runs WHERE run_id = '{run.run_id}'") == [(2, "v2")]
    again = LengthModel()
    _, plan = backfill("v2", since, until, again)
    assert (plan.todo, plan.reused, again.asked) == (0, 2, [])


def test_a_backfill_of_the_champion_becomes_current_where_the_product_is(home: Path) -> None:
    since = datetime.now(UTC)
    night(ROWS)
    night([("2", "a longer ball", None)])
    until = datetime.now(UTC)
    night([("4", "new", "Toys")])
    with open_run("shelf", "train") as run:
        crown(run, "v2", "digest-2")
    model = LengthModel()
    backfill("v2", since, until, model)
    assert sorted(model.asked) == ["a longer ball", "abacus", "ball", "what?"]
    assert asked("SELECT product_id, model_version FROM predictions ORDER BY 1") == [
        ("1", "v2"),
        ("2", "v2"),
        ("3", "v2"),
        ("4", "v1"),
    ]
    assert asked("SELECT count(*), count(DISTINCT product_id) FROM predictions") == [(4, 4)]
    assert asked("SELECT bool_and(balanced) FROM conservation") == [(True,)]


@pytest.mark.parametrize(
    ("ends", "asked_for"), [("since", ["later"]), ("until", ["abacus", "ball", "what?"]), ("both", [])]
)
def test_a_window_may_be_open_at_one_end(home: Path, ends: str, asked_for: list[str]) -> None:
    night(ROWS)
    middle = datetime.now(UTC)
    night([("5", "later", "Toys")])
    with open_run("shelf", "train") as run:
        crown(run, "v2", "digest-2")
    model = LengthModel()
    backfill("v2", None if ends == "until" else middle, None if ends == "since" else middle, model)
    assert sorted(model.asked) == asked_for


def test_a_window_in_which_nothing_was_stored_is_called_that(home: Path, aisle: Any) -> None:
    night(ROWS)
    with open_run("shelf", "train") as run:
        crown(run, "v2", "digest-2")
        models.overrule(run, "rolled_back", "v1", "v2 is a challenger here")
    code, printed, _ = aisle("score", "shelf", "--until", "20200101", "--model", "v2")
    assert code == 0
    assert "no product was stored in that time" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "is no date"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "is before"),
        (["SOURCE", "--since", "2026-02-01"], "takes no SOURCE"),
    ],
)
def test_a_window_that_makes_no_sense_is_named(home: Path, aisle: Any, options: list[str], said: str) -> None:
    night(ROWS)
    code, _, told = aisle("score", "shelf", *options)
    assert code == 2
    assert said in told
