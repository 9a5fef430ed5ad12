"""A home on S3: every command works, and what a folder promises holds between machines too."""

from __future__ import annotations

import http.server
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx
import obstore
import polars as pl
import pytest
from deltalake import DeltaTable

from catalogs.demo import generate
from core.errors import HomeNewer, HomeUnusable, TableDamaged
from core.settings import get_settings
from tests.s3 import Machines
from tests.stored import SHELVES, LengthModel, crown, ingest, night, score
from tests.web import answering
from warehouse.home import get_home
from warehouse.query import query
from warehouse.runs import open_run
from warehouse.upkeep import MOST_SMALL_FILES

ROWS = [("1", "abacus", "Books"), ("2", "ball", "Toys"), ("3", "what?", None)]
VIEWS = ("products", "predictions", "predictions_history", "models", "runs", "conservation", "policy", "rejects")


@pytest.fixture
def machines(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """Machines that share an empty home."""
    monkeypatch.setenv("AISLE_CATALOGS", str(SHELVES))
    yield Machines(tmp_path, f"s3://shop/{tmp_path.name}", monkeypatch)
    get_settings.cache_clear()


def shown() -> dict[str, list[dict[str, Any]]]:
    return {view: query(get_home(), f"SELECT * FROM {view} ORDER BY ALL").as_dicts() for view in VIEWS}


def asked(sql: str) -> list[tuple[Any, ...]]:
    return query(get_home(), sql).rows


def test_machines_take_turns_and_all_see_the_same(machines: Machines) -> None:
    machines.become("a")
    night(ROWS, bad=1)
    seen = shown()
    machines.become("b")
    assert shown() == seen
    night([("2", "a longer ball", None), ("4", "new", "Toys")])
    seen = shown()
    assert len(seen["products"]) == 4
    for name in ("a", "c"):
        machines.become(name)
        assert shown() == seen
    machines.become("a")
    with open_run("shelf", "score") as run:
        crown(run, "v2", "digest-2", threshold=0.99)
        score(run, LengthModel())
    with open_run("other", "ingest", ["x"]) as run:
        ingest(run, ROWS)
    seen = shown()
    machines.become("b")
    assert shown() == seen
    assert asked("SELECT DISTINCT catalog FROM products ORDER BY ALL") == [("other",), ("shelf",)]
    assert asked("SELECT count(*), bool_and(balanced) FROM conservation") == [(3, True)]


def test_a_run_that_failed_leaves_nothing_in_the_bucket(machines: Machines) -> None:
    machines.become("a")
    night(ROWS)
    before, seen = machines.listed("tables"), shown()

    def fails() -> None:
        with open_run("shelf", "ingest", ["x"]) as run:
            ingest(run, [("4", "new", "Toys")], bad=1)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert machines.listed("tables") == before
    assert shown() == seen
    night([("5", "newer", "Toys")])
    assert not machines.listed("tables/shelf/rejects")
    machines.become("b")
    assert [row["product_id"] for row in shown()["products"]] == ["1", "2", "3", "5"]


def test_every_table_in_the_bucket_is_a_delta_table(machines: Machines, s3_server: str) -> None:
    machines.become("a")
    night(ROWS)
    night([("4", "new", "Toys")])
    options = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
    }
    kinds = {key.split("/")[2] for key in machines.listed("tables/shelf")}
    assert {"products", "state", "scores", "models", "policy", "runs"} <= kinds
    for kind in kinds:
        address = f"{machines.address}/tables/shelf/{kind}"
        table = DeltaTable(address, storage_options=options)
        assert pl.read_delta(address, storage_options=options).height == sum(
            pl.DataFrame(table.get_add_actions(flatten=True))["num_records"]
        )
    assert pl.read_delta(f"{machines.address}/tables/shelf/products", storage_options=options).height == 4


@pytest.fixture
def own(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> Machines:
    """Machines that know the built-in catalogues."""
    monkeypatch.delenv("AISLE_CATALOGS")
    return machines


def test_every_command_works_and_tells_what_it_tells_of_a_folder(
    own: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aisle: Any
) -> None:
    source = str(generate(tmp_path, 600))
    views = {
        "predictions": "SELECT * EXCLUDE (run_id, scored_at, model_digest) FROM predictions ORDER BY product_id",
        "products": "SELECT * EXCLUDE (run_id, stored_at) FROM products ORDER BY product_id",
        "rejects": "SELECT * EXCLUDE (run_id, rejected_at) FROM rejects ORDER BY ALL",
        "conservation": "SELECT * EXCLUDE run_id FROM conservation",
        "models": "SELECT model_version, status, accuracy, rows FROM models",
        "drift": "SELECT metric, field, score, drifted FROM drift ORDER BY ALL",
    }

    def told(*words: str) -> Any:
        code, out, err = aisle(*words, "--json")
        assert code == 0, (words, err)
        return json.loads(out)

    ran = {}
    for where in ("folder", "bucket"):
        own.become("a")
        if where == "folder":
            monkeypatch.setenv("AISLE_HOME", str(tmp_path / "folder"))
            get_settings.cache_clear()
        told("run", "demo", source)
        if where == "bucket":
            own.become("b")  # with nothing copied yet
        ran[where] = {view: told("sql", sql) for view, sql in views.items()}
    assert ran["bucket"] == ran["folder"]
    assert len(ran["bucket"]["predictions"]) > 400

    product = ran["bucket"]["predictions"][0]["product_id"]
    (first,) = told("sql", "SELECT run_id FROM runs")
    assert told("explain", "demo", product)
    assert told("predict", "demo", "title=oak shelf")
    assert told("export", "demo", "--format", "csv", "--out", str(tmp_path / "out.csv"))
    own.become("c")
    told("train", "demo", "--recipe", "linear-fast", "--promote")
    assert told("score", "demo")["rows"]["scored"] > 400
    assert told("policy", "demo", "--target", "0.9")
    own.become("d")
    assert len(told("models", "compare", "demo")) == 2
    answers = "SELECT model_version, count(*) AS n FROM predictions GROUP BY ALL"
    assert [row["model_version"] for row in told("sql", answers)] == ["v2"]
    assert [row["model_version"] for row in told("sql", answers, "--run", first["run_id"])] == ["v1"]
    before = own.listed("tables/demo/state")
    told("models", "rollback", "demo")
    new = set(own.listed("tables/demo/state")) - set(before)
    assert [Path(key).suffix for key in sorted(new)] == [".json", ".parquet"], (
        "no file that the bucket may have dropped"
    )
    pages = told("report", "demo")["reports"]
    assert pages
    assert all(Path(page["path"]).is_file() for page in pages)
    own.become("b")
    assert [row["model_version"] for row in told("sql", answers)] == ["v1"]
    (maintained,) = told("maintain", "demo")
    assert maintained["damage"] == []
    assert told("publish")["catalogs"] == ["demo"]


def test_upkeep_deletes_in_the_bucket_what_nobody_needs_and_names_what_is_lost(machines: Machines, aisle: Any) -> None:
    days = MOST_SMALL_FILES + 2
    for day in range(days):
        machines.become("ab"[day % 2])
        with open_run("shelf", "ingest", [f"day-{day}"]) as run:
            ingest(run, [("1", f"title of day {day}", None), (f"new-{day}", "a ball", "Toys")])

    def maintained() -> tuple[int, dict[str, Any]]:
        code, out, err = aisle("maintain", "shelf", "--json")
        assert out.startswith("["), err
        (told,) = json.loads(out)
        return code, told

    def parquet_files() -> list[str]:
        return [key for key in machines.listed("tables/shelf/products") if re.fullmatch(r"[^_]+\.parquet", key)]

    rows = "SELECT product_id, title FROM products ORDER BY ALL"
    machines.become("reader", retention_days="0")
    seen = asked(rows)
    with duckdb.connect(str(get_home().database), read_only=True) as opened:
        machines.become("a", retention_days="0")
        assert maintained()[1]["compacted"]["products"] == {"before": days, "after": 1}
        assert len(parquet_files()) == days + 1, "what was published before may still be read"
        code, told = maintained()
        assert (code, told["deleted"]["products"]["files"]) == (0, days)
        (left,) = parquet_files()
        machines.become("reader")
        assert asked(rows) == seen
        assert opened.execute(rows).fetchall() == seen, "a copy keeps its files as long as a folder does"
    machines.become("new")
    assert asked(rows) == seen

    obstore.delete(machines.store, left)
    machines.become("a")
    code, told = maintained()
    assert code == 1
    assert [(Path(one["where"]).name, one["what"]) for one in told["damage"]] == [
        (Path(left).name, "is missing in the bucket; this machine still has its copy")
    ]


@contextmanager
def behind(server: str, spoil: Callable[[str, dict[str, str]], str]) -> Iterator[str]:
    """The server through a web server of ours, which passes on what it is asked, or loses it, or loses the answer.

    `spoil` gets path and headers, which it may change, and says "request" or "answer" when that is to be lost.
    """

    class Passing(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            lost = spoil(self.path, headers)
            if lost != "request":
                with httpx.stream(self.command, server + self.path, headers=headers, content=body) as found:
                    content = b"".join(found.iter_raw())
            if lost:
                self.send_response(503)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.send_response(found.status_code)
            for name, value in found.headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            length = found.headers.get("content-length") if self.command == "HEAD" else str(len(content))
            self.send_header("content-length", length or "0")
            self.end_headers()
            self.wfile.write(content)

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Passing, f"do_{method}", Passing.answer)
    with answering(Passing) as address:
        yield address


def test_faults_that_pass_are_passed_over(machines: Machines, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(7)
    spoilt = []

    def now_and_then(path: str, headers: dict[str, str]) -> str:
        is_commit = "if-none-match" in headers and "/_delta_log/" in path
        if path in spoilt or not (is_commit or dice.random() < 0.1):
            return ""
        spoilt.append(path)  # each once: a retry gets through
        return "answer" if is_commit else "request"

    with behind(s3_server, now_and_then) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        machines.become("a")
        night(ROWS)
        machines.become("b")
        assert len(asked("SELECT * FROM predictions")) == 3
    assert any("/_delta_log/" in path for path in spoilt)


def test_a_log_of_runs_that_is_lost_is_no_new_catalogue(machines: Machines) -> None:
    machines.become("a")
    night(ROWS)
    obstore.delete(machines.store, machines.listed("tables/shelf/runs"))
    kept = machines.listed("tables")
    machines.become("b")
    with pytest.raises(TableDamaged, match="there is no record of them any more"):
        night(ROWS)
    assert machines.listed("tables") == kept


def test_a_store_that_does_not_heed_conditions_is_refused(
    machines: Machines, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(path: str, headers: dict[str, str]) -> str:
        headers.pop("if-none-match", None)
        return ""

    with behind(s3_server, forget) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        machines.become("a")
        for _ in range(2):
            with pytest.raises(HomeUnusable, match="does not heed `If-None-Match`"):
                night(ROWS)
        assert not [key for key in machines.listed() if key.startswith("tables/")]


@pytest.mark.parametrize(
    ("environment", "address", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "s3://shop/home", "these credentials may not do this"),
        ({}, "s3://no-such-bucket/home", "there is no such bucket"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://shop/home", "cannot be reached"),
        ({}, "gs://shop/home", "is no home"),
        ({}, "s3://", "is no home"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_by_name(
    s3_server: str,
    machines: Machines,
    aisle: Any,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    address: str,
    said: str,
) -> None:
    machines.address = address
    machines.become("a", lock_wait_s="0") if address.startswith("s3://s") else None
    monkeypatch.setenv("AISLE_HOME", address)
    get_settings.cache_clear()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "AWS_ACCESS_KEY_ID" in environment:
        httpx.post(f"{s3_server}/moto-api/reset-auth", content=b"0")  # from now on it asks whose the keys are
    try:
        for words in (["sql", "SELECT 1"], ["models", "list", "shelf"], ["models", "rollback", "shelf"]):
            code, out, _ = aisle(*words, "--json")
            told = json.loads(out)
            assert (code, told["error"]) == (1, "HomeUnusable"), words
            assert said in told["message"]
            assert told["where"].startswith(address)
            assert told["hint"]
    finally:
        httpx.post(f"{s3_server}/moto-api/reset-auth", content=b"inf")


def test_a_home_that_a_newer_aisle_wrote_is_refused(machines: Machines, aisle: Any) -> None:
    machines.become("a")
    night(ROWS)
    obstore.put(machines.store, "home.json", b'{"schema_version": 99}')
    keys = machines.listed()
    for name in ("a", "b"):
        machines.become(name)
        with pytest.raises(HomeNewer, match=machines.address):
            night(ROWS)
        code, out, _ = aisle("sql", "SELECT 1", "--json")
        assert (code, json.loads(out)["error"]) == (1, "HomeNewer")
    assert machines.listed() == keys
