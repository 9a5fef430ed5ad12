"""The warehouse: every row in one place, no half run seen, nothing scored twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from core.errors import (
    HomeNewer,
    HomeUnusable,
    NothingPublished,
    NotShared,
    QueryRefused,
    RunLocked,
    SourceEmpty,
    SourceShrunk,
    SpecInvalid,
    TableDamaged,
    UnknownModel,
)
from core.settings import get_settings
from tests.stored import LengthModel, crown, frame, ingest, models, night, score, spec, stage
from warehouse import scoring, tables
from warehouse.home import get_home
from warehouse.ingest import Stage, Staged, staged_folder, store
from warehouse.publish import publish
from warehouse.query import query
from warehouse.recorded import recorded
from warehouse.runs import Run, open_run

ROWS = [("1", "abacus", "Books"), ("2", "ball", "Toys"), ("3", "what?", None), ("1", "atlas of the world", "Books")]


pytestmark = pytest.mark.usefixtures("shelves")


def ask(sql: str) -> list[dict[str, object]]:
    return query(get_home(), sql).as_dicts()


def test_every_row_of_a_run_is_in_exactly_one_place(home: Path) -> None:
    night(ROWS, bad=2)
    [row] = ask("SELECT * FROM conservation")
    assert row | {"run_id": ""} == {
        "catalog": "shelf",
        "run_id": "",
        "read": 6,
        "accepted": 2,
        "review": 1,
        "pending": 0,
        "rejected": 2,
        "repeated": 1,
        "unchanged": 0,
        "balanced": True,
    }


def test_stored_rows_are_pending_until_they_are_scored(home: Path) -> None:
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        ingest(run, ROWS)
    assert ask("SELECT pending, balanced FROM conservation") == [{"pending": 3, "balanced": True}]
    assert ask("SELECT * FROM predictions") == []


def test_the_same_source_again_stores_and_scores_nothing(home: Path) -> None:
    night(ROWS, bad=1)
    before = ask("SELECT * FROM predictions ORDER BY product_id")
    model = LengthModel()
    second = night(ROWS, bad=1, model=model)
    assert model.asked == []
    assert second.counts | {} == {
        "read": 5,
        "known": 0,
        "rejected": 1,
        "repeated": 1,
        "stored": 0,
        "unchanged": 3,
        "removed": 0,
        "scored": 0,
    }
    assert ask("SELECT * FROM predictions ORDER BY product_id") == before
    assert ask("SELECT bool_and(balanced) AS all FROM conservation") == [{"all": True}]
    assert ask("SELECT count(*) AS n FROM rejects") == [{"n": 2}], "a bad row seen again is rejected again"


def test_only_what_the_model_reads_is_scored_again(home: Path) -> None:
    night(ROWS)
    model = LengthModel()
    night([("2", "ball", "Books"), ("3", "a new title", None)], model=model)
    assert model.asked == ["a new title"]
    assert ask("SELECT known_label, label FROM predictions WHERE product_id = '2'") == [
        {"known_label": "Books", "label": "Toys"}
    ]
    assert ask("SELECT count(*) AS n FROM predictions_history") == [{"n": 4}]


def test_partitions_that_are_scored_side_by_side_share_the_cores(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_BATCH_ROWS", "100")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    get_settings.cache_clear()
    model = LengthModel()
    night([(f"{n}", f"title {n}", None) for n in range(450)], model=model)
    assert model.threads == [4, 4, 8], "the third has no other beside it"
    night([("450", "new", None)], model=model)
    assert model.threads == [4, 4, 8, 8]


def files_of(kind: str) -> int:
    """Files that a table of the shelf has now."""
    return len(tables.files(get_home().table("shelf", kind), recorded(get_home(), "shelf")[kind]))


@pytest.mark.parametrize(("size", "files"), [(1, 7), (1 << 30, 1)])
def test_products_are_stored_in_the_order_of_their_numbers(
    home: Path, monkeypatch: pytest.MonkeyPatch, size: int, files: int
) -> None:
    """Whoever reads a range of them reads a part of a file. The first of eight batches has nothing but lost rows."""
    monkeypatch.setattr("warehouse.ingest.STORED_BYTES", size)
    rows = [(f"{number % 70}", f"title {number}", None) for number in range(80)]
    with open_run("shelf", "ingest", ["shelf.jsonl"]) as run:
        staging = Stage(staged_folder(run), 0)
        for batch in frame(rows).iter_slices(10):
            staging.write(batch, pl.DataFrame())
        store(run, spec(), [Staged("shelf.jsonl", len(rows), 0, {})])
        written = [pl.read_parquet(file) for file in run.files("products")]
    stored = pl.concat(sorted(written, key=lambda own: own["seq"][0]))
    assert len(written) == files
    assert stored["seq"].to_list() == list(range(1, 71))
    assert stored["title"].to_list() == [f"title {number}" for number in range(10, 80)]
    assert ask("SELECT count(*) AS n, count(DISTINCT stored_at) AS times FROM products") == [{"n": 70, "times": 1}]


@pytest.mark.parametrize(("most", "files"), [(256, 3), (2, 2), (1, 1)])
def test_a_scoring_adds_few_files_however_many_partitions_it_had(
    home: Path, monkeypatch: pytest.MonkeyPatch, most: int, files: int
) -> None:
    monkeypatch.setenv("AISLE_BATCH_ROWS", "100")
    get_settings.cache_clear()
    monkeypatch.setattr(scoring, "MOST_FILES", most)
    titles = {f"{number}": "x" * (number % 9 + 1) for number in range(450)}
    night([(key, title, None) for key, title in titles.items()])
    assert (files_of("scores"), files_of("state")) == (files, files)
    assert ask("SELECT count(*) AS n FROM predictions") == [{"n": 450}]
    labels = {row["product_id"]: row["label"] for row in ask("SELECT product_id, label FROM predictions")}
    assert labels == {key: "Books" if len(title) > 5 else "Toys" for key, title in titles.items()}
    # Of those, some get other answers, and one is new: what was not scored is copied, in a file of its own.
    night([("7", "now quite long", None), ("450", "new", None)])
    assert (files_of("scores"), files_of("state")) == (files + 1, 2)
    assert ask("SELECT count(*) AS n FROM predictions") == [{"n": 451}]
    changed = {row["product_id"]: row["label"] for row in ask("SELECT product_id, label FROM predictions")}
    assert changed == labels | {"7": "Books", "450": "Toys"}


@pytest.mark.parametrize("kind", ["scores", "state"])
@pytest.mark.parametrize("seen", [0, 100])
def test_answers_that_are_not_to_be_seen_are_missed_before_any_is_kept(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, seen: int
) -> None:
    """A machine that shares no disk, or shows late what others wrote: an older file of the same name."""
    monkeypatch.setenv("AISLE_BATCH_ROWS", "100")
    get_settings.cache_clear()
    part_scored = scoring.score_partition

    def lost(part: scoring.Partition, *others: Any) -> int:
        rows = part_scored(part, *others)
        if part.number == 1:
            file = Path(part.outs[kind])
            pl.read_parquet(file).head(seen).write_parquet(file) if seen else file.unlink()
        return rows

    monkeypatch.setattr(scoring, "score_partition", lost)
    with pytest.raises(NotShared, match=rf"450 rows \({kind}\), and {250 + seen} are to be seen here"):
        night([(f"{number}", "ball", None) for number in range(450)])
    left = [*home.glob("tables/shelf/scores/*.parquet"), *home.glob("tables/shelf/*/*.part")]
    assert not left, "something was moved that is no part of a table"


def test_an_answer_given_before_is_not_asked_for_again(home: Path) -> None:
    night(ROWS)
    night([("3", "a new title", None)])
    model = LengthModel()
    night([("3", "what?", None)], model=model)
    assert model.asked == [], "the champion has answered for this very form of the product"
    assert ask("SELECT confidence FROM predictions WHERE product_id = '3'") == [{"confidence": 0.5}]


def test_a_new_champion_scores_everything_again(home: Path) -> None:
    night(ROWS)
    model = LengthModel()
    with open_run("shelf", "score") as run:
        crown(run, "v2", "digest-2")
        score(run, model)
    assert len(model.asked) == 3
    assert ask("SELECT DISTINCT model_version FROM predictions") == [{"model_version": "v2"}]
    assert ask("SELECT model_version, status FROM models") == [
        {"model_version": "v1", "status": "former champion"},
        {"model_version": "v2", "status": "champion"},
    ]


def test_repeated_ids_that_disagree_are_kept_as_conflicts(home: Path) -> None:
    night(ROWS)
    [row] = ask("SELECT product_id, line, kept_line, differs, row FROM conflicts")
    assert (row["product_id"], row["line"], row["kept_line"], row["differs"]) == ("1", 1, 4, ["title"])
    assert json.loads(str(row["row"]))["title"] == "abacus"
    assert ask("SELECT title FROM products WHERE product_id = '1'") == [{"title": "atlas of the world"}]


def test_a_snapshot_removes_what_vanished_and_refuses_when_too_much_did(home: Path) -> None:
    whole = spec(load="snapshot", max_vanished=0.4)
    with open_run("shelf", "ingest", ["a"]) as run:
        ingest(run, ROWS, declared=whole)
    with open_run("shelf", "ingest", ["b"]) as run:
        ingest(run, ROWS[1:], declared=whole)  # id 1 is still there, in its other form
    with open_run("shelf", "ingest", ["c"]) as run:
        ingest(run, ROWS[2:], declared=whole)
    assert run.counts["removed"] == 1
    assert ask("SELECT product_id FROM products ORDER BY 1") == [{"product_id": "1"}, {"product_id": "3"}]
    before = recorded(get_home(), "shelf")
    with pytest.raises(SourceShrunk, match="max_vanished"), open_run("shelf", "ingest", ["d"]) as run:
        ingest(run, ROWS[2:3], declared=whole)
    assert recorded(get_home(), "shelf") == before


def test_a_product_whose_row_is_rejected_is_not_gone_from_a_snapshot(home: Path) -> None:
    whole = spec(load="snapshot", max_vanished=0.5)
    with open_run("shelf", "ingest", ["a"]) as run:
        ingest(run, [("1", "abacus", "Books"), ("2", "ball", "Toys"), ("3", "cards", "Toys")], declared=whole)
    with open_run("shelf", "ingest", ["b"]) as run:
        staged = stage(run, [("2", "ball", "Toys")])
        bad = frame([("1", "too long", None)]).with_columns(source_row=pl.lit(2, pl.Int64), raw=pl.lit("{}"))
        refused = bad.select("source_file", "source_row", "raw", reasons=pl.concat_list(pl.lit("is too long")))
        unread = refused.clear().drop("source_file")
        Stage(staged_folder(run), 0).write(bad.clear(), Stage.rejects_of("shelf.jsonl", unread, refused, bad))
        store(run, whole, [replace(staged[0], read=2, rejected=1)])
    assert run.counts["removed"] == 1
    assert ask("SELECT product_id, title FROM products ORDER BY 1") == [
        {"product_id": "1", "title": "abacus"},
        {"product_id": "2", "title": "ball"},
    ]
    assert ask("SELECT bool_and(balanced) AS all FROM conservation") == [{"all": True}]


def test_a_run_that_fails_leaves_the_warehouse_as_it_was(home: Path) -> None:
    night(ROWS)
    before = {view: ask(f"SELECT * FROM {view}") for view in ("products", "predictions", "runs", "models", "rejects")}
    with pytest.raises(RuntimeError, match="halfway"):
        _fails_halfway()
    publish(get_home())
    assert before == {view: ask(f"SELECT * FROM {view}") for view in before}
    night([("9", "now seen", None)])
    assert ask("SELECT title FROM products WHERE product_id = '9'") == [{"title": "now seen"}]
    assert ask("SELECT bool_and(balanced) AS all FROM conservation") == [{"all": True}]


def _fails_halfway() -> None:
    with open_run("shelf", "nightly", ["x"]) as run:
        ingest(run, [("9", "never seen", None)], bad=1)
        crown(run, "v2", "digest-2")
        score(run, LengthModel())
        raise RuntimeError("halfway")


def _killed_after(step: str) -> None:
    with open_run("shelf", "nightly", ["x"]) as run:
        ingest(run, [("9", "killed halfway", None)], bad=1)
        if step == "ingest":
            os.kill(os.getpid(), signal.SIGKILL)
        score(run, LengthModel())
        if step == "score":
            os.kill(os.getpid(), signal.SIGKILL)
        run.record()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("step", "seen"), [("ingest", False), ("score", False), ("record", True)])
def test_a_killed_run_is_seen_whole_or_not_at_all_and_the_next_carries_on(home: Path, step: str, seen: bool) -> None:
    night(ROWS)
    process = multiprocessing.get_context("spawn").Process(target=_killed_after, args=(step,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    publish(get_home())
    assert bool(ask("SELECT 1 FROM predictions WHERE product_id = '9'")) is seen
    night([("9", "killed halfway", None)], bad=1)
    assert ask("SELECT label FROM predictions WHERE product_id = '9'") == [{"label": "Books"}]
    assert ask("SELECT bool_and(balanced) AS all FROM conservation") == [{"all": True}]
    assert not list((home / "staging" / "shelf").glob("*"))


def test_an_open_reader_keeps_its_view_while_a_run_is_published(home: Path) -> None:
    night(ROWS)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as reader:
        before = reader.execute("SELECT * FROM predictions ORDER BY product_id").fetchall()
        night([("2", "a much longer ball", None), ("7", "new", None)])
        assert reader.execute("SELECT * FROM predictions ORDER BY product_id").fetchall() == before


def test_two_runs_of_one_catalogue_wait_for_each_other(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISLE_LOCK_WAIT_S", "0.3")
    get_settings.cache_clear()
    started = time.monotonic()
    with open_run("shelf", "ingest", ["a"]) as run:
        ingest(run, ROWS)
        with pytest.raises(RunLocked, match="AISLE_LOCK_WAIT_S"), open_run("shelf", "ingest", ["b"]):
            pass
        assert time.monotonic() - started >= 0.3
        with open_run("other", "ingest", ["c"]) as other:
            ingest(other, ROWS)
    assert ask("SELECT catalog, count(*) AS n FROM products GROUP BY 1 ORDER BY 1") == [
        {"catalog": "other", "n": 3},
        {"catalog": "shelf", "n": 3},
    ]


def test_another_catalogues_publish_shows_none_of_a_run_under_way(home: Path) -> None:
    night(ROWS)
    with open_run("shelf", "nightly", ["x"]) as run:
        ingest(run, [("9", "not yet", None)])
        with open_run("other", "ingest", ["c"]) as other:
            ingest(other, ROWS)
        assert ask("SELECT 1 FROM products WHERE product_id = '9'") == []
    assert ask("SELECT 1 FROM products WHERE product_id = '9'") != []


def test_an_empty_source_is_refused(home: Path) -> None:
    with pytest.raises(SourceEmpty), open_run("shelf", "ingest", ["x"]) as run:
        ingest(run, [])


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{home}/out.csv'",
        "ATTACH '{home}/x.duckdb'",
        "CREATE TABLE t AS SELECT 1",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '{outside}/secret.csv'",
        "SET enable_external_access = true",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{home}/home.json' (FORMAT json)",
        "/* so */ explain (analyze) COPY (SELECT 1) TO '{home}/home.json' (FORMAT json)",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT nothing FROM predictions",
        "IMPORT DATABASE '{outside}/dump'",
        "IMPORT DATABASE 'http://127.0.0.1:9/dump'",
        "",
    ],
)
def test_sql_only_reads_and_only_the_home(home: Path, tmp_path: Path, sql: str) -> None:
    night(ROWS)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "schema.sql").write_text("hunter2 = 1")
    (tmp_path / "dump" / "load.sql").write_text("SELECT 1")
    with pytest.raises(QueryRefused) as refused:
        ask(sql.format(home=home, outside=tmp_path))
    assert "hunter2" not in refused.value.message
    assert "httpfs" not in refused.value.message


def test_sql_explains_a_select(home: Path) -> None:
    night(ROWS)
    assert ask("EXPLAIN ANALYZE SELECT count(*) FROM predictions")
    assert ask("explain select 1")


def test_conservation_follows_the_answers_that_are_current(home: Path) -> None:
    """After going back to an earlier model, what it said then counts, not what was said last."""
    night(ROWS)
    with open_run("shelf", "score") as run:
        crown(run, "v2", "digest-2", threshold=0.99)
        score(run, LengthModel())
    assert ask("SELECT accepted, review FROM conservation") == [{"accepted": 0, "review": 3}]
    with open_run("shelf", "score") as run:
        models.overrule(run, "rolled_back", None, "v2 is too strict")
        plan = score(run, LengthModel())
    assert (plan.todo, plan.reused) == (0, 3)
    assert ask("SELECT accepted, review, balanced FROM conservation") == [
        {"accepted": 2, "review": 1, "balanced": True}
    ]


def test_each_rollback_goes_further_back(home: Path) -> None:
    night(ROWS)
    with open_run("shelf", "models") as run:
        crown(run, "v2", "digest-2")
        crown(run, "v3", "digest-3")
        assert models.overrule(run, "rolled_back", None, "").version == "v2"
        assert models.overrule(run, "rolled_back", None, "").version == "v1"
        with pytest.raises(UnknownModel, match="no earlier champion"):
            models.overrule(run, "rolled_back", None, "")


def test_a_rollback_that_was_taken_back_counts_as_a_reign(home: Path) -> None:
    night(ROWS)
    with open_run("shelf", "models") as run:
        crown(run, "v2", "digest-2")
        models.overrule(run, "rolled_back", "v1", "")
        models.overrule(run, "rolled_back", "v2", "it was right after all")
        crown(run, "v3", "digest-3")
        assert models.overrule(run, "rolled_back", None, "").version == "v2"


def test_catalogues_may_disagree_on_what_a_column_holds(home: Path) -> None:
    with open_run("shelf", "ingest", ["a"]) as run:
        ingest(run, ROWS)
    with open_run("other", "ingest", ["b"]) as run:
        listed = frame(ROWS).with_columns(pl.concat_list("title").alias("title"))
        Stage(staged_folder(run), 0).write(listed, listed.clear())
        store(run, spec(), [Staged("b", len(ROWS), 0, {})])
    assert ask("SELECT catalog, title FROM products WHERE product_id = '2' ORDER BY 1") == [
        {"catalog": "other", "title": "[ball]"},
        {"catalog": "shelf", "title": "ball"},
    ]


def test_a_column_of_ours_of_another_type_is_damage_and_never_turned_into_text(home: Path) -> None:
    night(ROWS)
    odd = pl.DataFrame({"run_id": ["r"], "product_id": ["1"], "seq": ["one"]})
    with pytest.raises(TableDamaged, match="seq is VARCHAR, and should be BIGINT"), open_run("other", "ingest") as run:
        run.append("removed", odd)
    assert len(ask("SELECT * FROM predictions")) == 3


def test_a_field_that_changed_its_kind_is_named(home: Path) -> None:
    night(ROWS)
    changed = frame([("9", "new", None)]).with_columns(pl.concat_list("title").alias("title"))
    with open_run("shelf", "ingest", ["b"]) as run:
        Stage(staged_folder(run), 0).write(changed, changed.clear())
        with pytest.raises(SpecInvalid, match="title"):
            store(run, spec(), [Staged("b", 1, 0, {})])


def test_the_newest_run_is_the_last_one_even_when_the_clock_was_set_back(home: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=1)
    assert Run.later_than(pl.Series([future])) > future
    assert Run.later_than(pl.Series([], dtype=pl.Datetime("us", "UTC"))) < future


@pytest.mark.parametrize("named", ["gs://bucket/home", "{tmp}/h[4]", "{tmp}/h%20p"])
def test_a_home_that_tables_cannot_lie_in_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("AISLE_HOME", named.format(tmp=tmp_path))
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    with pytest.raises(HomeUnusable, match="set AISLE_HOME"):
        night(ROWS)
    assert not (tmp_path / "gs:").exists()


def test_sql_before_anything_was_published_says_what_to_do(home: Path) -> None:
    with pytest.raises(NothingPublished, match="aisle run"):
        ask("SELECT 1")


def test_a_home_of_a_newer_version_is_refused(home: Path) -> None:
    night(ROWS)
    (home / "home.json").write_text('{"schema_version": 99}')
    with pytest.raises(HomeNewer, match="update Aisle"):
        night(ROWS)


def test_a_marker_that_makes_no_sense_may_be_deleted_as_it_says(home: Path) -> None:
    night(ROWS)
    marker, before = home / "home.json", (home / "home.json").read_text()
    marker.write_text("catalog,product_id")
    with pytest.raises(HomeUnusable, match="delete that file"):
        night(ROWS)
    marker.unlink()
    night([("4", "new", "Toys")])
    assert len(ask("SELECT * FROM predictions")) == 4
    assert marker.read_text() == before


def test_a_home_that_cannot_be_made_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AISLE_HOME", str(tmp_path / "file" / "var"))
    get_settings.cache_clear()
    with pytest.raises(HomeUnusable, match="AISLE_HOME"):
        night(ROWS)


def test_a_missing_data_file_is_named_and_the_published_warehouse_stays(home: Path) -> None:
    night(ROWS)
    file = next((home / "tables" / "shelf" / "rejects").parent.glob("state/*.parquet"))
    published = (home / "warehouse.duckdb").stat().st_mtime_ns
    file.unlink()
    for other in (home / "tables" / "shelf" / "state").glob("*.parquet"):
        other.unlink()
    with pytest.raises(TableDamaged, match="backup"):
        publish(get_home())
    assert (home / "warehouse.duckdb").stat().st_mtime_ns == published


def test_whoever_reads_a_missing_data_file_of_products_names_it(home: Path) -> None:
    night(ROWS)
    next((home / "tables" / "shelf" / "products").glob("*.parquet")).unlink()
    with pytest.raises(TableDamaged, match="backup") as caught, open_run("shelf", "score") as run:
        score(run, LengthModel())
    assert "shelf/products" in str(caught.value)
    with pytest.raises(QueryRefused, match="aisle maintain"):
        ask("SELECT title FROM products")


@pytest.mark.parametrize("kind", ["runs", "state", "products"])
def test_a_damaged_log_is_named_and_what_was_published_is_still_read(home: Path, kind: str) -> None:
    night(ROWS)
    before = ask("SELECT * FROM predictions ORDER BY product_id")
    newest = max((home / "tables" / "shelf" / kind / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:-40])
    for work in (lambda: night(ROWS), lambda: publish(get_home())):
        with pytest.raises(TableDamaged, match="backup") as caught:
            work()
        assert f"shelf/{kind}" in str(caught.value)
    assert ask("SELECT * FROM predictions ORDER BY product_id") == before


def test_a_catalogue_whose_runs_are_gone_is_not_taken_for_a_new_one(home: Path, tmp_path: Path) -> None:
    night(ROWS)
    before = ask("SELECT * FROM predictions ORDER BY product_id")
    (home / "tables" / "shelf" / "runs").rename(tmp_path / "runs")
    for work in (lambda: night(ROWS), lambda: publish(get_home())):
        with pytest.raises(TableDamaged, match=r"move .*shelf away first"):
            work()
    assert ask("SELECT * FROM predictions ORDER BY product_id") == before
    (tmp_path / "runs").rename(home / "tables" / "shelf" / "runs")
    night(ROWS)
    (home / "tables" / "shelf").rename(tmp_path / "shelf")
    night(ROWS)
    assert ask("SELECT count(*) AS n FROM runs") == [{"n": 1}]


def test_a_home_that_moved_is_mended_by_publishing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night(ROWS)
    moved = tmp_path / "elsewhere"
    home.rename(moved)
    monkeypatch.setenv("AISLE_HOME", str(moved))
    get_settings.cache_clear()
    with pytest.raises(QueryRefused, match="aisle publish"):
        ask("SELECT * FROM predictions")
    publish(get_home())
    assert len(ask("SELECT * FROM predictions")) == 3
