"""The log of a table read without deltalake: the same files, at every version, as deltalake itself finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pytest
from deltalake import DeltaTable

from core.errors import HomeUnusable, TableDamaged
from tests.commands import PROJECT
from warehouse import delta_log, tables


def by_deltalake(path: Path, at: int) -> list[str]:
    return sorted(unquote(uri.removeprefix("file://")) for uri in DeltaTable(path, version=at).file_uris())


def rows(first: int) -> pl.DataFrame:
    return pl.DataFrame({"seq": [first, first + 1], "name": ["é", "a b"]})


def commit(log: Path, number: int, *actions: dict) -> None:
    (log / f"{number:020}.json").write_text("".join(json.dumps(action) + "\n" for action in actions))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Everything that Aisle does to a table, in a folder whose name has to be encoded; with a checkpoint on the way."""
    path = tmp_path / "ein Käfig mit 100 %" / "products"
    path.parent.mkdir()
    tables.append(path, rows(0))
    staged = tmp_path / "batch.parquet"
    for first in (2, 4):
        rows(first).with_columns(price=pl.lit(1.5)).write_parquet(staged)
        tables.append(path, staged)
    tables.restore(path, 0)
    DeltaTable(path).create_checkpoint()
    tables.append(path, rows(6))
    tables.append(path, rows(8))
    tables.compact(path)
    rows(10).write_parquet(staged)
    tables.overwrite(path, staged, rows(14))
    DeltaTable(path).delete()
    tables.append(path, rows(12))
    tables.vacuum(path, 0, keep=[])
    return path


def test_every_version_has_the_files_that_deltalake_finds(table: Path):
    newest = DeltaTable(table).version()
    assert delta_log.version(table) == newest
    found = [delta_log.files(table, at) for at in range(newest + 1)]
    assert found == [by_deltalake(table, at) for at in range(newest + 1)]
    assert len({tuple(files) for files in found}) > 5, "the table hardly changed"
    assert [] in found, "no version was empty"


def test_what_is_written_at_once_is_one_commit_however_many_files_it_has(tmp_path: Path):
    path, staged = tmp_path / "scores", tmp_path / "part.parquet"
    rows(0).write_parquet(staged)
    assert tables.append(path, staged, rows(2)) == 0
    rows(4).write_parquet(staged)
    assert tables.append(path, rows(6), staged) == 1
    assert [len(tables.files(path, at)) for at in (0, 1)] == [2, 4]
    found = tables.scan(path, 1)
    assert found is not None
    assert found.select("seq").collect().to_series().sort().to_list() == list(range(8))
    assert not [*path.glob("*.part"), *tmp_path.glob("*.parquet")], "a file that is no part of it was left"


def test_a_log_that_begins_with_a_checkpoint_is_read_from_there(table: Path):
    (checkpoint,) = (table / "_delta_log").glob("*.checkpoint.parquet")
    at = int(checkpoint.name.partition(".")[0])
    for old in sorted((table / "_delta_log").glob("*.json"))[: at + 1]:
        old.unlink()
    newest = DeltaTable(table).version()
    assert delta_log.version(table) == newest
    for later in range(at, newest + 1):
        assert delta_log.files(table, later) == by_deltalake(table, later)
    with pytest.raises(TableDamaged, match=f"version {at - 1} .*no version 0"):
        delta_log.files(table, at - 1)


def test_where_nothing_was_committed_there_is_no_version(tmp_path: Path):
    assert delta_log.version(tmp_path / "nowhere") is None
    (tmp_path / "begun" / "_delta_log").mkdir(parents=True)
    (tmp_path / "begun" / "_delta_log" / "_commit_1.json.tmp").write_text("{}")
    assert delta_log.version(tmp_path / "begun") is None


def test_a_gap_in_the_log_is_damage_and_a_version_to_come_is_not_there(table: Path):
    newest = delta_log.version(table)
    assert newest is not None
    with pytest.raises(TableDamaged, match="backup"):
        delta_log.files(table, newest + 1)
    (table / "_delta_log" / f"{newest - 1:020}.json").unlink()
    with pytest.raises(TableDamaged, match=f"version {newest} .*no version {newest - 1}"):
        delta_log.files(table, newest)


@pytest.mark.parametrize("text", ["{", "5\n", '{"add": {}}\n', '{"add": null}\n', "\xff\xfe"])
def test_a_commit_that_is_none_is_damage(table: Path, text: str):
    newest = delta_log.version(table)
    (table / "_delta_log" / f"{newest:020}.json").write_text(text, encoding="latin-1")
    with pytest.raises(TableDamaged, match="backup"):
        delta_log.files(table, newest or 0)


@pytest.mark.parametrize(
    ("protocol", "named"),
    [
        ({"minReaderVersion": 3, "readerFeatures": ["timestampNtz", "deletionVectors"]}, "deletionVectors"),
        ({"minReaderVersion": 2}, "version 2"),
    ],
)
def test_a_table_that_another_program_gave_features_is_refused(table: Path, protocol: dict, named: str):
    newest = delta_log.version(table)
    assert newest is not None
    commit(table / "_delta_log", newest + 1, {"protocol": protocol | {"minWriterVersion": 7}})
    with pytest.raises(TableDamaged, match=named):
        delta_log.files(table, newest + 1)
    assert delta_log.files(table, newest) == by_deltalake(table, newest)


@pytest.mark.parametrize(
    "elsewhere", ["s3://bucket/part.parquet", "file:///part.parquet", "/part.parquet", "%2Fpart.parquet"]
)
def test_a_file_that_lies_outside_of_its_table_is_refused(table: Path, elsewhere: str):
    newest = delta_log.version(table)
    assert newest is not None
    commit(table / "_delta_log", newest + 1, {"add": {"path": elsewhere}})
    with pytest.raises(TableDamaged, match="outside"):
        delta_log.files(table, newest + 1)


@pytest.mark.parametrize("parts", ["0000000001.0000000002.parquet", "80a083e8-7026-4e79-81be-64bd76c43a11.json"])
def test_checkpoints_of_other_programs_are_passed_over_and_missed_only_when_commits_are_gone(table: Path, parts: str):
    log = table / "_delta_log"
    newest = delta_log.version(table)
    assert newest is not None
    expected = delta_log.files(table, newest)
    (log / f"{newest:020}.checkpoint.{parts}").write_text("not read")
    assert delta_log.files(table, newest) == expected
    for kept in [*log.glob("*.json"), *log.glob("*.checkpoint.parquet")]:
        if f".checkpoint.{parts}" not in kept.name:
            kept.unlink()
    assert delta_log.version(table) == newest, "a table that was written would count as new"
    with pytest.raises(TableDamaged, match="no version 0"):
        delta_log.files(table, newest)


def test_a_checkpoint_that_keeps_its_files_in_others_is_refused(table: Path):
    newest = delta_log.version(table)
    assert newest is not None
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v2Checkpoint"]}
    frame = pl.DataFrame({"protocol": [protocol, None], "add": [None, {"path": "a.parquet"}]})
    frame.write_parquet(table / "_delta_log" / f"{newest:020}.checkpoint.parquet")
    with pytest.raises(TableDamaged, match="v2Checkpoint"):
        delta_log.files(table, newest)


def test_a_checkpoint_that_is_none_is_damage(table: Path):
    newest = delta_log.version(table)
    assert newest is not None
    (table / "_delta_log" / f"{newest:020}.checkpoint.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableDamaged, match="backup"):
        delta_log.files(table, newest)


def test_a_log_that_this_user_may_not_read_is_not_taken_for_none(table: Path):
    (table / "_delta_log").chmod(0)
    was = os.geteuid()
    os.seteuid(65534 if was == 0 else was)  # root reads everything
    try:
        for ask in (lambda: delta_log.version(table), lambda: delta_log.files(table, 0)):
            with pytest.raises(HomeUnusable, match="cannot be read by this user"):
                ask()
    finally:
        os.seteuid(was)
        (table / "_delta_log").chmod(0o755)


def test_reading_and_serving_load_no_deltalake(tmp_path: Path):
    code = "import sys, api.api, warehouse.recorded; sys.exit('deltalake' in sys.modules or 'arro3' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=os.environ | {"AISLE_HOME": str(tmp_path)}, check=False
    )
    assert found.returncode == 0


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_column_that_came_later_is_read_whatever_file_stands_first(tmp_path: Path, first: str) -> None:
    """The names of files are drawn by chance: an old one may stand before or behind a new one."""
    rows = {"old": pl.DataFrame({"seq": [1]}), "new": pl.DataFrame({"seq": [2], "brand": ["oak"]})}
    files = [str(tmp_path / f"{name}.parquet") for name in sorted(rows, key=lambda name: name != first)]
    for file in files:
        rows[Path(file).stem].write_parquet(file)
    found = tables.scan_files(files)
    assert found.collect_schema().names() == ["seq", "brand"]
    assert found.filter(pl.col("seq") < 9).sort("seq").collect()["brand"].to_list() == [None, "oak"]
