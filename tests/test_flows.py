"""The flows, end to end on the generated catalogue: in this process, and as Prefect flow runs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest

from catalogs import demo, registry
from catalogs.sources import SourceFile
from classifier.artifact import load, manifest
from classifier.recipes import resolve
from core.errors import (
    ColumnMissing,
    NoChampion,
    NotEnoughLabels,
    OneClass,
    SourceCorrupt,
    SourceMissing,
    UnknownCatalog,
)
from core.orchestration import artifact_key
from core.settings import get_settings
from flows.ingest import ingest
from flows.monitor import monitor
from flows.nightly import nightly
from flows.score import score
from flows.train import train
from flows.tune import tune
from tasks.digest_source import digest_source
from tasks.find_source import FileJob
from tasks.split_rows import Split
from tests.conftest import NIGHT_ROWS, PROJECT, Night
from tests.products import shop
from tests.web import answering
from warehouse.home import get_home
from warehouse.query import query
from warehouse.registry import published_champion


def ask(sql: str) -> list[dict[str, object]]:
    return query(get_home(), sql).as_dicts()


@pytest.fixture
def day(tmp_path: Path) -> str:
    """A generated source."""
    return str(demo.generate(tmp_path / "source", rows=NIGHT_ROWS, seed=1, day=0))


def test_one_run_takes_a_file_to_categories_in_sql(opened: Path, first_night: Night) -> None:
    result = first_night.result
    rows = result.rows
    assert rows["read"] > 0
    assert rows["read"] == sum(
        rows[place] for place in ("accepted", "review", "pending", "rejected", "repeated", "unchanged")
    )
    assert rows["pending"] == 0
    assert rows["rejected"] > 0
    assert rows["repeated"] > 0
    assert ask("SELECT balanced FROM conservation") == [{"balanced": True}]
    assert ask("SELECT count(*) AS n FROM predictions") == ask("SELECT count(*) AS n FROM products")
    assert result.model["trained"] is True
    assert result.model["accuracy"] > result.baselines["majority"]["accuracy"]
    for page in result.reports.values():
        assert Path(page).is_file(), page
    assert ask("SELECT count(*) > 0 AS some FROM drift") == [{"some": True}]
    assert result.drift["drifted"] is False


def test_with_too_few_products_there_is_no_verdict_on_drift(
    home: Path, tmp_path: Path, day: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = (registry.BUILTIN / "demo.toml").read_text()
    assert "[drift]" not in toml
    (tmp_path / "demo.toml").write_text(f"{toml}\n[drift]\nmin_rows = 2000\n")
    monkeypatch.setenv("AISLE_CATALOGS", str(tmp_path))
    get_settings.cache_clear()
    result = nightly.fn("demo", [day])
    assert result.drift["drifted"] is None
    assert monitor.fn("demo").drifted is None


def test_the_same_run_again_changes_and_scores_nothing(opened: Path, first_night: Night) -> None:
    before = ask("SELECT * EXCLUDE (run_id, scored_at) FROM predictions ORDER BY product_id")
    again = nightly.fn("demo", [first_night.source])
    assert (again.rows["accepted"], again.rows["review"], again.rows["scored"]) == (0, 0, 0)
    assert again.rows["unchanged"] + again.rows["rejected"] + again.rows["repeated"] == again.rows["read"]
    assert again.model["trained"] is False
    assert ask("SELECT * EXCLUDE (run_id, scored_at) FROM predictions ORDER BY product_id") == before
    assert ask("SELECT count(*) AS n FROM predictions_history") == ask("SELECT count(*) AS n FROM products")
    assert ask("SELECT bool_and(balanced) AS all FROM conservation") == [{"all": True}]


def test_the_served_model_is_the_one_that_was_evaluated(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    result = train.fn("demo")
    champion = published_champion(get_home(), "demo")
    assert champion.version == result.version == "v1"
    assert manifest(champion.folder)["facts"]["metrics"]["accuracy"] == result.metrics["accuracy"]
    reference = pl.read_parquet(champion.folder / "reference.parquet")
    answers = load(champion.folder).predict(reference)
    assert answers["label"].to_list() == reference["label"].to_list()
    assert answers["confidence"].to_list() == reference["confidence"].to_list()


def test_training_shares_no_text_with_the_holdout(home: Path, day: str) -> None:
    from tasks.split_rows import split_rows
    from warehouse.runs import open_run

    ingest.fn("demo", [day])
    with open_run("demo", "train") as run:
        split = split_rows(run.run_id, None, None)
    assert split.holdout.height > 0
    assert not set(split.train["text_hash"]) & set(split.holdout["text_hash"])
    assert not set(split.train["product_id"]) & set(split.holdout["product_id"])


def test_one_class_is_found_before_any_work_is_done(home: Path, tmp_path: Path) -> None:
    from tasks.split_rows import split_rows
    from warehouse.runs import open_run

    source = tmp_path / "one.jsonl"
    rows = [{"id": str(row), "title": f"red boots {row}", "description": "", "category": "Garden"} for row in range(50)]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    ingest.fn("demo", [str(source)])
    with open_run("demo", "train") as run, pytest.raises(OneClass, match="'Garden'"):
        split_rows(run.run_id, None, None)
    with pytest.raises(OneClass):  # not one failed trial after the other
        tune.fn("demo")


def test_a_source_is_known_by_what_its_files_had_when_they_were_found(tmp_path: Path) -> None:
    files = [SourceFile(tmp_path / name, name, "jsonl") for name in ("a", "b")]
    jobs = [FileJob(number, file, "demo", "", True, bytes=3) for number, file in enumerate(files)]
    for file in files:
        file.path.write_bytes(b"old")
    assert digest_source.fn(jobs) == hashlib.sha256(b"oldold").hexdigest()
    files[1].path.write_bytes(b"old, and what came while it was read")
    assert digest_source.fn(jobs) == hashlib.sha256(b"oldold").hexdigest()
    files[0].path.unlink()
    with pytest.raises(FileNotFoundError):
        digest_source.fn(jobs)


def test_a_label_alone_changes_the_digest_of_what_is_trained_on() -> None:
    """A person's label is not in a product's row, and teaches all the same."""
    spec, rows = shop()
    split = Split(resolve(spec), rows, rows.clear())
    is_first = pl.int_range(pl.len()) == 0
    relabelled = rows.with_columns(
        pl.when(is_first).then(pl.lit(["Elsewhere"])).otherwise("known_path").alias("known_path")
    )
    assert relabelled["row_hash"].equals(rows["row_hash"])
    assert Split(split.recipe, relabelled, rows.clear()).data_digest != split.data_digest
    assert Split(split.recipe, rows, relabelled).data_digest == split.data_digest, "what is held out teaches nothing"


def test_a_challenger_that_is_no_worse_becomes_champion_and_rescores(opened: Path) -> None:
    result = train.fn("demo", recipe="linear-fast")
    assert result.version == "v2"
    assert "champion v1" in result.why
    status = {row["model_version"]: row["status"] for row in ask("SELECT model_version, status FROM models")}
    assert status == (
        {"v1": "former champion", "v2": "champion"} if result.promoted else {"v1": "champion", "v2": "refused"}
    )
    scored = score.fn("demo", model="v2")
    assert scored.rows["scored"] == scored.rows["current"]
    assert ask("SELECT DISTINCT model_version FROM predictions") == [{"model_version": "v2"}]
    back = score.fn("demo", model="v1")
    assert back.rows["scored"] == 0, "v1 has answered for these products before"
    assert back.rows["reused"] == back.rows["current"]


@pytest.mark.parametrize("catalog", [path.stem for path in registry.BUILTIN.glob("*.toml")])
def test_prefect_takes_the_tables_of_every_catalogue_as_artifacts(catalog: str) -> None:
    from prefect.server.schemas.actions import ArtifactCreate

    key = artifact_key(f"gate-{catalog}")
    assert ArtifactCreate(key=key, type="table", data="[]").key == key


def test_without_a_model_scoring_and_monitoring_say_what_to_do(home: Path, day: str) -> None:
    ingest.fn("demo", [day])
    for flow in (score, monitor):
        with pytest.raises(NoChampion, match="aisle train demo"):
            flow.fn("demo")
    assert ask("SELECT count(*) AS n FROM runs") == [{"n": 1}]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("absent.jsonl", None, SourceMissing),
        ("broken.jsonl.gz", b"\x1f\x8b\x08\x00broken", SourceCorrupt),
        (
            "unlabelled.jsonl",
            b'{"id": "1", "title": "a lamp", "description": "it shines", "category": null}\n',
            NotEnoughLabels,
        ),
    ],
)
def test_a_bad_source_leaves_the_warehouse_as_it_was(
    home: Path, tmp_path: Path, day: str, name: str, content: bytes | None, error: type[Exception]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    ingest.fn("demo", [day])
    before = {view: ask(f"SELECT * FROM {view}") for view in ("products", "rejects", "runs", "models")}
    if error is NotEnoughLabels:
        (home / "tables" / "demo").rename(tmp_path / "aside")
        with pytest.raises((NotEnoughLabels, OneClass)):
            nightly.fn("demo", [str(path)])
        (home / "tables" / "demo").rename(tmp_path / "failed")
        (tmp_path / "aside").rename(home / "tables" / "demo")
    else:
        with pytest.raises(error):
            nightly.fn("demo", [str(path)])
    assert before == {view: ask(f"SELECT * FROM {view}") for view in before}


def test_a_source_may_be_an_address(home: Path, tmp_path: Path, day: str) -> None:
    """Two addresses that differ in their query only are two files."""
    with answering(partial(SimpleHTTPRequestHandler, directory=Path(day).parent)) as address:
        result = ingest.fn("demo", [f"{address}/{Path(day).name}?day={number}" for number in (1, 2)])
    here = ingest.fn("demo", [day])
    assert result.rows["read"] == 2 * here.rows["read"]
    assert here.rows["stored"] == 0


def test_a_mistyped_label_column_is_named_before_there_is_a_model(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "typo.csv"
    path.write_text("id,title,description,categry\n1,a lamp,it shines,Home\n")
    with pytest.raises(ColumnMissing, match="did you mean categry"):
        ingest.fn("demo", [str(path)])


def test_a_failed_run_leaves_no_report(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"id": "1", "title": "a lamp", "description": "it shines"}\n' * 2)
    with pytest.raises((NotEnoughLabels, ColumnMissing)):
        nightly.fn("demo", [str(path)])
    assert not list(home.glob("reports/demo/*"))


def test_an_unknown_catalogue_is_named(home: Path) -> None:
    with pytest.raises(UnknownCatalog, match="did you mean demo"):
        ingest.fn("dmo", ["x.jsonl"])
    assert not home.exists()


def test_as_prefect_flow_runs_the_result_is_the_same(home: Path, tmp_path: Path, first_night: Night) -> None:
    """A real, ephemeral Prefect server: flow runs, subflow runs and task runs with their states are in its API."""
    here, day = first_night.result, first_night.source
    script = """
import json, sys
from core.orchestration import run_flow
from flows.nightly import nightly
result = run_flow(nightly, "demo", [sys.argv[1]], with_prefect=True)
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    flows = sorted((run.name, run.state_name) for run in client.read_flow_runs())
    tasks = sorted((run.name.rsplit("-", 1)[0], run.state_name) for run in client.read_task_runs(limit=100))
print(json.dumps({"result": result.as_dict(), "flows": flows, "tasks": tasks}))
"""
    environment = {**os.environ, "AISLE_HOME": str(tmp_path / "other"), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", script, day], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["result"]["rows"] == here.rows
    assert told["result"]["model"]["accuracy"] == here.model["accuracy"]
    batch = Path(day).name
    names = [f"ingest demo {batch}", "monitor demo", f"nightly demo {batch}", "score demo", "train demo"]
    assert told["flows"] == [[name, "Completed"] for name in names]
    names = {name for name, state in told["tasks"] if state == "Completed"}
    rows = {"read file", "store rows", "validate rows", "write validation"}  # the third runs beside the second
    assert rows | {"fit model", "score partition", "measure drift"} <= names
